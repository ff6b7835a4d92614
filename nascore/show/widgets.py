"""A search as a panel in a notebook: its knobs, Run and Stop, and what it finds while it runs.

The controls are made from the metadata of the method's `Budget`. A panel is only a view: Run calls
`nascore.run` in one background thread, so that the kernel stays free for Stop, and from there only
traits of widgets are set.
"""

import dataclasses
import html
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import ipywidgets

import nascore
from nascore import search
from nascore.data import TORCHVISION
from nascore.errors import UserError, look_up, reason
from nascore.knobs import kind_of
from nascore.search import Progress, Result
from nascore.show.canvas import GREY
from nascore.show.chart import COLOURS
from nascore.show.drawing import draw

REFRESH = 0.2  # seconds between two updates of the panel
FOLLOWED = {
    "loss": "training loss",
    "entropy_normal": "entropy of alpha, normal cell",
    "best": "best reward so far",
}
CELL_HEIGHT, CURVES_HEIGHT = 220, 110  # pixels; fixed, so that nothing below the panel moves


def control(field: dataclasses.Field, value) -> ipywidgets.Widget:
    """The widget for one knob of a `Budget`, within its bounds, with the help as its tooltip."""
    about = field.metadata
    label = about["label"] + (f" ({about['unit']})" if about["unit"] else "")
    options = {"description": label, "tooltip": about["help"], "value": value}
    if about["choices"]:
        return ipywidgets.Dropdown(options=about["choices"], **options)
    bounded, step = (
        (ipywidgets.BoundedIntText, 1)
        if kind_of(field) is int
        else (ipywidgets.BoundedFloatText, None)
    )
    return bounded(min=about["low"], max=about["high"], step=step, **options)


class SearchPanel(ipywidgets.VBox):
    """`SearchPanel("darts", fields=("epochs", "order"))`: choose, Run, watch, Stop.

    `fields` names the knobs shown (all without it); `run_kwargs` go to `nascore.run`, among them
    values of knobs. A notebook stores no widgets: below a panel, a plain cell with `result =
    panel.wait() or panel.run()` and `draw(result.genotype)` shows the same without a front end.
    """

    def __init__(
        self,
        method: str,
        data="digits",
        budget="smoke",
        fields: Sequence[str] | None = None,
        *,
        seed=0,
        **run_kwargs,
    ):
        self.method = method
        self.data = data
        self.run_kwargs = run_kwargs
        self.result: Result | None = None
        self._stop, self._ended = (
            threading.Event(),
            threading.Event(),
        )  # of the last search that was begun
        self._ended.set()
        self.entry = search.get(method)
        known = {f.name: f for f in dataclasses.fields(self.entry.budget)}
        start = self.entry.budget.preset(
            budget, **{k: v for k, v in run_kwargs.items() if k in known}
        )
        shown = (
            known if fields is None else {name: look_up(known, name, "field") for name in fields}
        )
        self.controls = {
            name: control(field, getattr(start, name)) for name, field in shown.items()
        }
        presets = self.entry.budget.PRESETS
        text = "smoke: seconds; reduced: up to three minutes; full: the paper's own"
        self.preset = ipywidgets.Dropdown(
            description="budget", tooltip=text, options=list(presets), value=budget
        )
        text = "the same seed, the same search"
        self.seed = ipywidgets.BoundedIntText(
            description="seed", tooltip=text, max=2**32 - 1, value=seed
        )
        names = (
            ("digits", *TORCHVISION)
            if self.entry.one_shot
            else ("digits", "nasbench201", *TORCHVISION)
        )
        text = "a name, or a folder of images"
        named = not isinstance(data, str | Path)  # images that were made, not loaded
        self.source = ipywidgets.Combobox(
            description="data",
            tooltip=text,
            options=names,
            value=getattr(data, "name", "") if named else str(data),
        )
        self.source.disabled = named
        self.run_button = ipywidgets.Button(description="Run", button_style="primary", icon="play")
        self.stop_button = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self.bar = ipywidgets.FloatProgress(min=0.0, max=1.0, layout={"width": "22em"})
        self.status = ipywidgets.Label("ready")
        self.curves = ipywidgets.HTML(
            layout={"height": f"{CURVES_HEIGHT + 10}px", "overflow": "hidden"}
        )
        empty = f'<span style="color:{GREY}">Here the architecture will be drawn as the search goes on.</span>'
        self.cell = ipywidgets.HTML(
            empty, layout={"height": f"{CELL_HEIGHT + 10}px", "overflow": "hidden"}
        )
        self.preset.observe(lambda change: self._show_preset(change["new"]), "value")
        self.run_button.on_click(lambda button: self.start())
        self.stop_button.on_click(lambda button: self.stop())
        knobs = [self.preset, self.seed, self.source, *self.controls.values()]
        for widget in knobs:
            widget.style.description_width = "11em"
            widget.layout.width = "23em"
        knobs = ipywidgets.Box(knobs, layout={"display": "flex", "flex_flow": "row wrap"})
        buttons = ipywidgets.HBox([self.run_button, self.stop_button, self.bar, self.status])
        super().__init__([knobs, buttons, self.curves, self.cell])

    def _show_preset(self, name: str) -> None:
        preset = self.entry.budget.preset(name)
        for field, widget in self.controls.items():
            widget.value = getattr(preset, field)

    # --- what the buttons do ----------------------------------------------------------------------

    def start(self) -> None:
        """Run: begin a search with the values shown, once a search that is still running has
        stopped."""
        self.stop()
        before = self._ended
        self._stop = threading.Event()
        self._ended = threading.Event()
        chosen = {name: widget.value for name, widget in self.controls.items()}
        data = self.data if self.source.disabled else self.source.value
        options = {
            **self.run_kwargs,
            **chosen,
            "data": data,
            "budget": self.preset.value,
            "seed": self.seed.value,
        }
        self.run_button.disabled = True
        self.stop_button.disabled = False
        self.status.value = "starting"
        self.bar.value = 0.0
        work = (options, before, self._stop, self._ended)
        threading.Thread(
            target=self._work, args=work, name=f"search {self.method}", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop: the search ends after the step in hand, with what it has found."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> Result | None:
        """Wait until the search has ended; returns its result, or None where there is none.
        Interrupting the kernel meanwhile is pressing Stop."""
        try:
            self._ended.wait(seconds)
        except KeyboardInterrupt:
            self.stop()
            self._ended.wait()
        return self.result

    def run(self) -> Result | None:
        """Press Run and wait: the same search without a front end."""
        self.start()
        return self.wait()

    # --- the background thread: only traits are set here ------------------------------------------

    def _work(
        self, options: dict, before: threading.Event, stop: threading.Event, ended: threading.Event
    ) -> None:
        before.wait()
        self.result = None
        view = _View(self)
        try:
            self.result = nascore.run(
                self.method, progress=view.update, stop=stop.is_set, **options
            )
            view.refresh()
            view.show(self.result.genotype)
            ending = "done" if self.result.finished else "stopped"
            reward = self.result.reward
            found = "nothing was found" if reward is None else f"reward {reward:.4f}"
            self.status.value = f"{ending} after {self.result.seconds:.1f} s: {found}"
        except (
            Exception
        ) as error:  # in a thread nobody would see it: the panel is where the user looks
            text = str(error) if isinstance(error, UserError) else reason(error)
            self.status.value = " ".join(text.split())[:300]
        finally:
            if stop is self._stop:  # else a newer search owns the buttons
                self.run_button.disabled = False
                self.stop_button.disabled = True
            ended.set()


class _View:
    """Turns the progress of one search into at most one update of its panel every `REFRESH`
    seconds."""

    def __init__(self, panel: SearchPanel):
        self.panel = panel
        self.drawn = None
        self.due = 0.0
        self.began = time.monotonic()
        self.series: dict[str, list[float]] = {}
        self.best = self.last = None

    def update(self, progress: Progress) -> None:
        for name in FOLLOWED.keys() & progress.metrics.keys():
            self.series.setdefault(name, []).append(progress.metrics[name])
        if progress.reward is not None and (self.best is None or progress.reward > self.best[0]):
            self.best = (progress.reward, progress.genotype)
        self.last = progress
        if time.monotonic() >= self.due:
            self.refresh()

    def refresh(self) -> None:
        """Bring the panel to where the search is."""
        if (progress := self.last) is None:  # a finished search was resumed: no step
            return
        reward = "" if progress.reward is None else f", reward {progress.reward:.4f}"
        elapsed = time.monotonic() - self.began
        self.panel.bar.value = progress.step / max(1, progress.total)
        self.panel.status.value = (
            f"step {progress.step} of {progress.total}{reward}, {elapsed:.0f} s"
        )
        self.panel.curves.value = "".join(
            curve(values, FOLLOWED[name], COLOURS[k])
            for k, (name, values) in enumerate(sorted(self.series.items()))
        )
        one_shot = (
            self.panel.entry.one_shot
        )  # a multi-trial search is shown by the best architecture so far
        self.show(progress.genotype if one_shot or self.best is None else self.best[1])
        self.due = time.monotonic() + REFRESH

    def show(self, genotype) -> None:
        """Draw the genotype, if it is another than the one shown."""
        if genotype is None or genotype == self.drawn:
            return
        self.drawn = genotype
        fitted = 'max-width:100%;max-height:100%" preserveAspectRatio="xMidYMin meet'
        svg = draw(genotype).svg.replace("max-width:100%;height:auto", fitted, 1)
        self.panel.cell.value = f'<div style="height:{CELL_HEIGHT}px">{svg}</div>'


def curve(values: Sequence[float], label: str, colour: str) -> str:
    """A small curve as SVG text, of at most 200 points and the last: matplotlib would take a
    tenth of a core."""
    low = min(values)
    high = max(values)
    last = len(values) - 1
    points = " ".join(
        f"{k},{high - values[k]:.4g}" for k in [*range(0, last, 1 + last // 200), last]
    )
    words = html.escape(f"{label}: {values[-1]:.5g}")
    return (
        f'<div style="display:inline-block;width:270px;font:12px Helvetica,Arial,sans-serif;color:{GREY}">{words}<br/>'
        f'<svg viewBox="0 0 {last or 1} {(high - low) or 1:.4g}" preserveAspectRatio="none" width="250" '
        f'height="{CURVES_HEIGHT - 50}" overflow="visible" role="img" aria-label="{words}"><polyline points="{points}" '
        f'fill="none" stroke="{colour}" stroke-width="1.8" vector-effect="non-scaling-stroke"/></svg><br/>'
        f"between {low:.5g} and {high:.5g}, {len(values)} steps</div>"
    )
