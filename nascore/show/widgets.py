"""A search as a panel in a notebook: its knobs, Run and Stop, and what it finds while it runs.

The controls are made from the metadata of the method's `Budget`. A panel is only a view: Run calls
`nascore.run` in one background thread, so that the kernel stays free for Stop, and from there only
traits of widgets are set. `SearchPanel.attach(DIR)` shows a search that runs elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from html import escape
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ipywidgets import HTML, Box, Button, Dropdown, FloatProgress, HBox, IntText, Label, VBox

from nascore.data import Images
from nascore.errors import UserError, reason, require
from nascore.expected import expected, in_words
from nascore.files import PathName
from nascore.search import Budget, Result, get, run
from nascore.show.chart import Chart
from nascore.show.controls import Source, controls, explained
from nascore.show.plots import chart, of_the_table
from nascore.show.view import CELL_HEIGHT, CURVES_HEIGHT, View
from nascore.watching import SECONDS, Watch

Data = PathName | Images
PRESETS = "smoke: seconds; reduced: up to three minutes; full: the paper's own"
OWN = "this notebook's own"
LONG = 3600.0  # seconds from which on Run asks first
# By which a reward of the digits is known to be one of the same children.
TRAINED = ("recipe", "child_epochs", "last_epochs", "channels", "cells", "batch_size", "validation")


def _page(height: int) -> HTML:
    """A place for a picture, so high that nothing below the panel moves."""
    return HTML(layout={"height": f"{height + 10}px", "overflow": "hidden"})


class SearchPanel(VBox):
    """`SearchPanel("darts", fields=("epochs", "order"))`: choose, Run, watch, Stop.

    `fields` names the knobs shown (all without it); `behind` has by preset what random search
    reaches after 1, 2, ... evaluations, where that is known (of the table it is computed);
    `run_kwargs` go to `nascore.run`, among them values of knobs. A notebook stores no widgets:
    below a panel, a plain cell with `result = panel.wait() or panel.run()` and `panel.picture()`
    shows the same without a front end.
    """

    def __init__(
        self,
        method: str,
        data: Data = "digits",
        budget: str = "smoke",
        fields: Sequence[str] | None = None,
        *,
        seed: int = 0,
        behind: Mapping[str, Sequence[float]] | None = None,
        **run_kwargs: Any,
    ) -> None:
        self.method = method
        self.data = data
        self.behind = behind or {}
        self.result: Result | None = None
        # Of the last search that was begun.
        self._stop = Event()
        self._ended = Event()
        self._ended.set()
        self.shown = False  # on a page, whose reader wants to know how long it takes
        self.asked = False  # whether to spend what is set
        self.seconds = 0.0  # that it will take, once a step was timed
        entry = self.entry = get(method)
        known = [field.name for field in fields_of(entry.budget)]
        own = {name: value for name, value in run_kwargs.items() if name in known}
        self.own = (budget, own)
        self.hidden = own  # values of knobs; those of controls are theirs
        self.run_kwargs = {k: value for k, value in run_kwargs.items() if k not in own}
        self.controls = controls(entry.budget.preset(budget, **own), fields)
        presets = list(entry.budget.PRESETS)
        self.preset = explained(Dropdown, "budget", PRESETS, options=presets, value=budget)
        self.seed = explained(IntText, "seed", "the same seed, the same search", value=seed)
        self.source = Source(data, tables=not entry.one_shot)
        self.run_button = Button(description="Run", button_style="primary", icon="play")
        self.stop_button = Button(description="Stop", icon="stop", disabled=True)
        self.own_button = Button(description=OWN, icon="undo", layout={"display": "none"})
        self.bar = FloatProgress(min=0.0, max=1.0, layout={"width": "14em"})
        self.status = Label("ready")
        self.message = HTML()
        self.curves = _page(CURVES_HEIGHT)
        self.cell = _page(CELL_HEIGHT)
        self.view = View(self)
        self.run_button.on_click(self._click)
        self.stop_button.on_click(self.stop)
        self.own_button.on_click(self._go_back)
        self.preset.observe(self._show_preset, "value")
        for widget in (self.seed, self.source.choice, self.source.folder, *self.controls.values()):
            widget.observe(self._changed, "value")
        knobs = [self.preset, self.seed, *self.source.widgets, *self.controls.values()]
        buttons = [self.run_button, self.stop_button, self.own_button, self.bar, self.status]
        super().__init__(
            [
                Box(knobs, layout={"display": "flex", "flex_flow": "row wrap"}),
                self.message,
                HBox(buttons),
                self.curves,
                self.cell,
            ]
        )

    @classmethod
    def attach(cls, directory: str | Path) -> "SearchPanel":
        """A panel of the search in `directory`, which another process runs: it shows what its files
        say, and Stop leaves it."""
        watched = Watch(directory)
        panel = cls(watched.config.get("method", ""), fields=())
        panel.children = panel.children[1:]  # its knobs are set
        panel.shown = True  # and there is nothing to expect
        panel.run_button.layout.display = "none"
        panel.begin(panel._watch, watched)
        return panel

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """On a page: before Run it says what it begins with."""
        first = not self.shown
        self.shown = True
        if first and self._ended.is_set() and self.result is None:
            self._expect()
        return super()._repr_mimebundle_(**kwargs)

    # --- what is set ------------------------------------------------------------------------------

    def budget(self) -> Budget:
        """All that is set. Raises `UserError` where a knob has a value that it may not have."""
        values = {name: widget.value for name, widget in self.controls.items()}
        return self.entry.budget.preset(self.preset.value, **{**self.hidden, **values})

    def options(self) -> dict[str, Any]:
        """What goes to `nascore.run`."""
        given = {"data": self.source.value, "seed": self.seed.value}
        return {**self.run_kwargs, **given, "budget": self.budget()}

    def random_search(self, total: int) -> Sequence[float]:
        """What it reaches after 1, 2, ... of so many evaluations, where that is known: of children
        that are trained as the preset trains them."""
        if self.source.value == "nasbench201":
            return of_the_table(total).tolist()
        known = self.behind.get(self.preset.value, ())
        if not known or self.source.value != self.data:
            return ()
        preset = self.entry.budget.preset(self.preset.value)
        budget = self.budget()
        alike = all(getattr(budget, name) == getattr(preset, name) for name in TRAINED)
        return known if alike else ()

    def _show_preset(self, change: object) -> None:
        """A preset is all of its values, those that are not shown too."""
        self.hidden = {}
        preset = self.entry.budget.preset(self.preset.value)
        self._show(preset)

    def _go_back(self, button: object = None) -> None:
        name, own = self.own
        self.preset.value = name
        self.hidden = own
        self._show(self.entry.budget.preset(name, **own))

    def _show(self, budget: Budget) -> None:
        with self.hold_trait_notifications():
            for name, widget in self.controls.items():
                widget.value = getattr(budget, name)
        self._changed()

    def _changed(self, change: object = None) -> None:
        """Say what is wrong with what is set, or how it differs from the notebook's own."""
        self.asked = False
        self.seconds = 0.0
        self.run_button.description = "Run"
        try:
            now = asdict(self.budget())
        except UserError as error:
            self._fail(error)
            return
        name, own = self.own
        before = asdict(self.entry.budget.preset(name, **own))
        other = [f"{k} {now[k]} (here {v})" for k, v in before.items() if now[k] != v]
        self.own_button.layout.display = "" if other else "none"
        self.say(f"Other than {OWN}: {', '.join(other)}." if other else "")
        if self.shown and self._ended.is_set():
            self._expect()

    def say(self, text: str) -> None:
        """A sentence above the buttons."""
        self.message.value = f'<div role="alert">{escape(text)}</div>' if text else ""

    def _expect(self) -> None:
        """Time a step, and show where the search begins."""
        self.status.value = "timing a step"
        try:
            found = expected(self.method, **self.options())
        except Exception as error:
            self._fail(error)
            return
        self.seconds = found.seconds
        self.status.value = f"ready: about {in_words(found.seconds)}"
        self.view.begin(found)

    # --- what the buttons do ----------------------------------------------------------------------

    def _click(self, button: object) -> None:
        """Run, once more where it takes hours."""
        costly = self.preset.value == "full" or self.seconds > LONG
        if costly and not self.asked:
            if not self.seconds:
                self._expect()
            if not self.seconds:  # it says why
                return
            self.asked = True
            self.run_button.description = "Run all the same"
            self.say(f"This takes about {in_words(self.seconds)} here. Press once more to begin.")
            return
        self.start()

    def start(self, button: object = None) -> None:
        """Run: begin a search with the values shown, once a search that is still running has
        stopped; `button` is the one that was pressed, if one was."""
        self.begin(self._search)

    def begin(self, work: Any, *arguments: Any) -> None:
        """Let a thread do `work`, once the one before has stopped."""
        self.stop()
        self.asked = False
        self.run_button.description = "Run"
        before = self._ended
        self._stop = Event()
        self._ended = Event()
        self.run_button.disabled = True
        self.stop_button.disabled = False
        self.status.value = "starting"
        self.bar.value = 0.0
        events = (before, self._stop, self._ended)
        name = f"search {self.method}"
        Thread(target=self._work, args=(*events, work, *arguments), name=name, daemon=True).start()

    def stop(self, button: object = None) -> None:
        """Stop: the search ends after the step in hand, with what it has found."""
        self._stop.set()
        if not self._ended.is_set():
            self.status.value = "stopping after this step"

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

    def picture(self) -> Chart:
        """What the panel shows of its last search, as a figure that a notebook keeps. Raises
        `UserError` before there is a step."""
        require(self.view.rows, "picture", self.status.value, "a search that has begun: press Run")
        return chart(self.view.plots(), f"{self.method}: {self.status.value}")

    # --- the background thread: only traits are set here ------------------------------------------

    def _work(self, before: Event, stop: Event, ended: Event, work: Any, *arguments: Any) -> None:
        before.wait()
        self.result = None
        self.view = View(self, stop)
        try:
            work(stop, *arguments)
        # In a thread nobody would see it: the panel is where the user looks.
        except Exception as error:
            self._fail(error)
        finally:
            if stop is self._stop:  # else a newer search owns the buttons
                self.run_button.disabled = False
                self.stop_button.disabled = True
            ended.set()

    def _search(self, stop: Event) -> None:
        view = self.view
        options = self.options()
        self.say("")
        options |= {"progress": view.update, "doing": view.doing, "stop": stop.is_set}
        found = self.result = run(self.method, **options)
        view.refresh()
        view.show(found.genotype)
        ending = "done" if found.finished else "stopped"
        reward = "nothing was found" if found.reward is None else f"reward {found.reward:.4f}"
        self.status.value = f"{ending} after {found.seconds:.1f} s: {reward}"

    def _watch(self, stop: Event, watched: Watch) -> None:
        while True:
            runs = watched.runs  # first: what it wrote as it ended is still read
            for step in watched.steps():
                self.view.update(step)
            self.view.refresh()
            if not runs or stop.wait(SECONDS):
                break
        self.status.value = watched.ending() if not runs else "left: it goes on"

    def _fail(self, error: Exception) -> None:
        """Say it in a sentence; the old picture goes."""
        text = str(error) if isinstance(error, UserError) else reason(error)
        self.status.value = "it did not work"
        self.say(" ".join(text.split()))
        self.curves.value = ""
        self.cell.value = ""
