"""A search as a panel in a notebook: its knobs, Run and Stop, and what it finds while it runs.

The controls are made from the metadata of the method's `Budget`. A panel is only a view: Run calls
`nascore.run` in one background thread, so that the kernel stays free for Stop, and from there only
traits of widgets are set.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import Field
from dataclasses import fields as fields_of
from html import escape
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ipywidgets import (
    HTML,
    BoundedFloatText,
    BoundedIntText,
    Box,
    Button,
    Combobox,
    Dropdown,
    FloatProgress,
    HBox,
    Label,
    VBox,
    Widget,
)

from nascore.data import NAMES, Images
from nascore.errors import UserError, look_up, reason
from nascore.genotypes import Genotype
from nascore.knobs import type_of
from nascore.search import Budget, Progress, Result, get, run
from nascore.show.canvas import GREY
from nascore.show.chart import COLOURS
from nascore.show.drawing import draw

Data = str | Path | Images
REFRESH = 0.2  # seconds between two updates of the panel
FOLLOWED = {
    "loss": "training loss",
    "entropy_normal": "entropy of alpha, normal cell",
    "best": "best reward so far",
}
CELL_HEIGHT, CURVES_HEIGHT = 220, 110  # pixels; fixed, so that nothing below the panel moves
EMPTY = "Here the architecture will be drawn as the search goes on."


def control(field: Field, value: Any) -> Widget:
    """The widget for one knob of a `Budget`, within its bounds, with the help as its tooltip."""
    about = field.metadata
    label = about["label"]
    if unit := about["unit"]:
        label += f" ({unit})"
    text = about["help"]
    if choices := about["choices"]:
        return Dropdown(options=choices, description=label, tooltip=text, value=value)
    bounded = BoundedIntText if type_of(field) is int else BoundedFloatText
    low = about["low"]
    high = about["high"]
    return bounded(min=low, max=high, description=label, tooltip=text, value=value)


def controls(start: Budget, names: Sequence[str] | None) -> dict[str, Widget]:
    """The widgets of the knobs of those names, or of all, by their names, at their values in
    `start`."""
    known = {field.name: field for field in fields_of(start)}
    shown = known if names is None else names
    return {name: control(look_up(known, name, "field"), getattr(start, name)) for name in shown}


def _source(data: Data, tables: bool) -> Combobox:
    """Where the data come from, which cannot be chosen where it is images that were made."""
    named = isinstance(data, str | Path)
    first, *others = NAMES
    return Combobox(
        description="data",
        tooltip="a name, or a folder of images",
        options=(first, "nasbench201", *others) if tables else NAMES,
        value=str(data) if named else getattr(data, "name", ""),
        disabled=not named,
    )


def _page(height: int, content: str = "") -> HTML:
    """A place for a picture, `height` pixels high."""
    return HTML(content, layout={"height": f"{height + 10}px", "overflow": "hidden"})


class SearchPanel(VBox):
    """`SearchPanel("darts", fields=("epochs", "order"))`: choose, Run, watch, Stop.

    `fields` names the knobs shown (all without it); `run_kwargs` go to `nascore.run`, among them
    values of knobs. A notebook stores no widgets: below a panel, a plain cell with `result =
    panel.wait() or panel.run()` and `draw(result.genotype)` shows the same without a front end.
    """

    def __init__(
        self,
        method: str,
        data: Data = "digits",
        budget: str = "smoke",
        fields: Sequence[str] | None = None,
        *,
        seed: int = 0,
        **run_kwargs: Any,
    ) -> None:
        self.method = method
        self.data = data
        self.run_kwargs = run_kwargs
        self.result: Result | None = None
        # Of the last search that was begun.
        self._stop = Event()
        self._ended = Event()
        self._ended.set()
        entry = self.entry = get(method)
        self.controls = controls(self._start(budget), fields)
        text = "smoke: seconds; reduced: up to three minutes; full: the paper's own"
        presets = list(entry.budget.PRESETS)
        self.preset = Dropdown(description="budget", tooltip=text, options=presets, value=budget)
        text = "the same seed, the same search"
        self.seed = BoundedIntText(description="seed", tooltip=text, max=2**32 - 1, value=seed)
        self.source = _source(data, tables=not entry.one_shot)
        self.run_button = Button(description="Run", button_style="primary", icon="play")
        self.stop_button = Button(description="Stop", icon="stop", disabled=True)
        self.bar = FloatProgress(min=0.0, max=1.0, layout={"width": "22em"})
        self.status = Label("ready")
        self.curves = _page(CURVES_HEIGHT)
        self.cell = _page(CELL_HEIGHT, f'<span style="color:{GREY}">{EMPTY}</span>')
        self.preset.observe(self._show_preset, "value")
        self.run_button.on_click(self.start)
        self.stop_button.on_click(self.stop)
        buttons = HBox([self.run_button, self.stop_button, self.bar, self.status])
        super().__init__([self._knobs(), buttons, self.curves, self.cell])

    def _start(self, preset: str) -> Budget:
        """What the controls show at first: a preset, and values that were given."""
        budget = self.entry.budget
        known = [field.name for field in fields_of(budget)]
        given = {name: value for name, value in self.run_kwargs.items() if name in known}
        return budget.preset(preset, **given)

    def _knobs(self) -> Box:
        knobs = [self.preset, self.seed, self.source, *self.controls.values()]
        for widget in knobs:
            widget.style.description_width = "11em"
            widget.layout.width = "23em"
        return Box(knobs, layout={"display": "flex", "flex_flow": "row wrap"})

    def _show_preset(self, change: object) -> None:
        preset = self.entry.budget.preset(self.preset.value)
        for field, widget in self.controls.items():
            widget.value = getattr(preset, field)

    # --- what the buttons do ----------------------------------------------------------------------

    def start(self, button: object = None) -> None:
        """Run: begin a search with the values shown, once a search that is still running has
        stopped; `button` is the one that was pressed, if one was."""
        self.stop()
        before = self._ended
        self._stop = Event()
        self._ended = Event()
        options = {
            **self.run_kwargs,
            **{name: widget.value for name, widget in self.controls.items()},
            "data": self.data if self.source.disabled else self.source.value,
            "budget": self.preset.value,
            "seed": self.seed.value,
        }
        self.run_button.disabled = True
        self.stop_button.disabled = False
        self.status.value = "starting"
        self.bar.value = 0.0
        work = (options, before, self._stop, self._ended)
        name = f"search {self.method}"
        Thread(target=self._work, args=work, name=name, daemon=True).start()

    def stop(self, button: object = None) -> None:
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

    def _work(self, options: dict, before: Event, stop: Event, ended: Event) -> None:
        before.wait()
        self.result = None
        view = _View(self)
        try:
            found = run(self.method, progress=view.update, stop=stop.is_set, **options)
            self.result = found
            view.refresh()
            view.show(found.genotype)
            ending = "done" if found.finished else "stopped"
            reward = "nothing was found" if found.reward is None else f"reward {found.reward:.4f}"
            self.status.value = f"{ending} after {found.seconds:.1f} s: {reward}"
        # In a thread nobody would see it: the panel is where the user looks.
        except Exception as error:
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

    def __init__(self, panel: SearchPanel) -> None:
        self.panel = panel
        self.drawn: Genotype | None = None
        self.due = 0.0
        self.began = time.monotonic()
        self.series: dict[str, list[float]] = defaultdict(list)
        self.best_reward = -1.0
        self.best: Genotype | None = None
        self.last: Progress | None = None

    def update(self, progress: Progress) -> None:
        """A step: it is kept, and shown where the last one was shown long enough ago."""
        metrics = progress.metrics
        for name in FOLLOWED.keys() & metrics.keys():
            self.series[name].append(metrics[name])
        reward = progress.reward
        if reward is not None and reward > self.best_reward:
            self.best_reward = reward
            self.best = progress.genotype
        self.last = progress
        if time.monotonic() >= self.due:
            self.refresh()

    def refresh(self) -> None:
        """Bring the panel to where the search is."""
        progress = self.last
        if progress is None:  # a finished search was resumed: no step
            return
        panel = self.panel
        step = progress.step
        total = progress.total
        panel.bar.value = step / max(1, total)
        status = f"step {step} of {total}"
        if progress.reward is not None:
            status += f", reward {progress.reward:.4f}"
        panel.status.value = f"{status}, {time.monotonic() - self.began:.0f} s"
        curves = ""
        for name, colour in zip(sorted(self.series), COLOURS):
            curves += curve(self.series[name], FOLLOWED[name], colour)
        panel.curves.value = curves
        # A multi-trial search is shown by the best architecture so far.
        self.show(progress.genotype if panel.entry.one_shot else self.best or progress.genotype)
        self.due = time.monotonic() + REFRESH

    def show(self, genotype: Genotype | None) -> None:
        """Draw the genotype, if it is another than the one shown."""
        if genotype in (None, self.drawn):
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
    shown = [*range(0, last, 1 + last // 200), last]
    points = " ".join(f"{k},{high - values[k]:.4g}" for k in shown)
    words = escape(f"{label}: {values[-1]:.5g}")
    font = "font:12px Helvetica,Arial,sans-serif"
    return (
        f'<div style="display:inline-block;width:270px;{font};color:{GREY}">{words}<br/>'
        f'<svg viewBox="0 0 {last or 1} {(high - low) or 1:.4g}" preserveAspectRatio="none" '
        f'width="250" height="{CURVES_HEIGHT - 50}" overflow="visible" role="img" '
        f'aria-label="{words}"><polyline points="{points}" fill="none" stroke="{colour}" '
        f'stroke-width="1.8" vector-effect="non-scaling-stroke"/></svg><br/>'
        f"between {low:.5g} and {high:.5g}, {len(values)} steps</div>"
    )
