"""A panel without a browser: set values, click, wait, and look at the search that came out of
it."""

import dataclasses
import signal
import sys
import threading
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace
from typing import ClassVar

import pytest

import nascore
from nascore import registry, search
from nascore.errors import UserError
from nascore.published import GENOTYPES
from nascore.search import Budget, Progress, Trial, knob
from nascore.show import widgets
from nascore.show.widgets import SearchPanel, control, curve

CELLS = (GENOTYPES["darts-v1"], GENOTYPES["darts-v2"])
HANGS = 600  # seconds after which a wait is given up, so that what hangs ends: nothing here takes as long
running: list[int] = []  # how many slow searches run at the moment, step by step
reached, go_on = (
    threading.Event(),
    threading.Event(),
)  # a search has come to its hold; it may leave it
clock = [0.0]  # seconds, of which a step takes 0.03: for the test that reads it


@dataclasses.dataclass(frozen=True)
class SlowBudget(Budget):
    PRESETS: ClassVar = {"smoke": {"steps": 3}, "reduced": {"steps": 100_000}, "full": {}}
    steps: int = knob(50_000, "steps", "how often to step", unit="steps", low=1, high=100_000)
    rate: float = knob(0.5, "rate", "a number", low=0.0, high=1.0)
    way: str = knob("up", "way", "up or down", choices=("up", "down"))
    fails: int = knob(0, "fails", "the step at which it fails", low=0, high=100)
    hold: int = knob(0, "hold", "the step that lasts until the test lets it end", low=0, high=100)


class SlowSearch:
    """A one-shot search that does nothing, and is as slow as a test wants it: one of its steps can
    be held."""

    alive = 0

    def __init__(self, space, data, budget, seed, device):
        self.budget, self.seed, self.history = budget, seed, []

    @property
    def done(self):
        return len(self.history) >= self.budget.steps

    @property
    def best(self):
        return Trial(
            CELLS[len(self.history) % 2],
            self.budget.rate,
            {"seed": self.seed, "way": self.budget.way},
        )

    def step(self):
        SlowSearch.alive += 1
        running.append(SlowSearch.alive)
        step = len(self.history) + 1
        clock[0] += 0.03
        if step == self.budget.hold:
            reached.set()
            go_on.wait(HANGS)
        SlowSearch.alive -= 1
        if step == self.budget.fails:
            raise UserError("the loss became nan\nat step 2")
        if self.budget.fails == 100:
            raise ZeroDivisionError("a bug")
        metrics = {"loss": 1 / step, "entropy_normal": 2.0}
        progress = Progress(step, self.budget.steps, CELLS[step % 2], 0.5, metrics)
        self.history.append(progress.row())
        return progress


@pytest.fixture(autouse=True)
def slow_method(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(search.methods_by_name()))
    search.method("slow", budget=SlowBudget, one_shot=True)(SlowSearch)
    running.clear()
    reached.clear()
    go_on.clear()
    yield
    go_on.set()
    for thread in searches():
        thread.join(HANGS)


def searches():
    return [thread for thread in threading.enumerate() if thread.name == "search slow"]


def test_run_without_a_front_end_gives_what_nascore_run_gives():
    panel = SearchPanel("evolution", data="nasbench201", fields=("trials", "population_size"))
    panel.controls["trials"].value = 40
    panel.seed.value = 3
    result = panel.run()
    same = nascore.run("evolution", data="nasbench201", budget="smoke", seed=3, progress=False, trials=40)
    assert result is panel.result and result.history == same.history and result.genotype == same.genotype
    assert result.finished and panel.status.value.startswith("done after") and panel.bar.value == 1.0
    assert "best reward so far" in panel.curves.value


def test_clicking_run_and_stop_leaves_the_caller_free():
    panel = SearchPanel("slow", budget="reduced", way="down", hold=2)
    panel.run_button.click()
    assert panel.run_button.disabled and not panel.stop_button.disabled
    assert reached.wait(HANGS)  # in the second step the first is on show
    assert panel.status.value.startswith("step 1 of 100000")
    assert "<svg" in panel.curves.value and "<svg" in panel.cell.value
    assert panel.result is None
    panel.stop_button.click()
    go_on.set()
    result = panel.wait(HANGS)
    assert not result.finished and len(result.history) == 2 and result.details["way"] == "down"
    assert panel.status.value.startswith("stopped after")
    assert panel.stop_button.disabled and not panel.run_button.disabled


def test_a_new_run_waits_for_the_old_one():
    panel = SearchPanel("slow", budget="reduced", hold=4)
    panel.start()
    assert reached.wait(HANGS)
    panel.preset.value = "smoke"
    panel.start()
    panel.start()
    first, second, third = searches()
    go_on.set()
    result = panel.wait(HANGS)
    assert result.finished and len(result.history) == 3
    assert running == [1] * (4 + 3)  # never two at once; the second was stopped before it began
    assert not panel.run_button.disabled
    for thread in (first, second, third):
        thread.join(HANGS)
    assert not searches()


def test_a_search_does_not_keep_python_alive():
    panel = SearchPanel("slow", budget="reduced", hold=1)
    panel.start()
    assert reached.wait(HANGS)
    assert [thread.daemon for thread in searches()] == [True]
    panel.stop()
    go_on.set()
    assert len(panel.wait(HANGS).history) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to threads")
def test_interrupting_the_kernel_stops_the_search_and_keeps_what_it_found():
    panel = SearchPanel("slow", budget="reduced", hold=2)
    panel.start()
    assert reached.wait(HANGS)
    wait, pressed = panel._ended.wait, []

    def interrupted(seconds=None):
        if not pressed:  # the user has waited for long enough
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)
        go_on.set()
        return wait(HANGS)

    panel._ended.wait = interrupted
    result = panel.wait()
    assert pressed and not result.finished and len(result.history) == 2
    assert panel.status.value.startswith("stopped")


def test_the_panel_is_updated_every_fifth_of_a_second_with_both_curves_and_the_cell(monkeypatch):
    """By a clock of its own, on which a step takes 0.03 seconds: at every seventh step, and at the
    last."""
    monkeypatch.setattr(widgets, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    clock[0] = 0.0
    panel = SearchPanel("slow", steps=200, fields=())
    seen = {"status": [], "cell": [], "curves": []}
    for name, values in seen.items():
        getattr(panel, name).observe(lambda change, values=values: values.append(change["new"]), "value")
    panel.run()
    assert widgets.REFRESH == 0.2
    shown = [*range(1, 200, 7), 200]
    assert [int(text.split()[1]) for text in seen["status"][1:-1]] == shown  # between "starting" and "done"
    assert len(seen["curves"]) == len(seen["cell"]) == len(shown)
    assert "training loss: 0.005" in panel.curves.value and "entropy of alpha" in panel.curves.value
    assert "Normal cell: node 0 adds" in panel.cell.value and panel.cell.value.count("<svg") == 1


@pytest.mark.parametrize("fails, line", [(2, "the loss became nan at step 2"), (100, "ZeroDivisionError: a bug")])
def test_an_error_is_one_line_in_the_panel(fails, line):
    panel = SearchPanel("slow", fails=fails)
    assert panel.run() is None
    assert panel.status.value == line and not panel.run_button.disabled


def test_an_unknown_folder_is_one_line_in_the_panel():
    panel = SearchPanel("slow")
    panel.source.value = "no/such/folder"
    assert panel.run() is None and panel.status.value.startswith("unknown data 'no/such/folder'")


def test_controls_are_made_from_the_budgets_metadata():
    fields = {f.name: f for f in dataclasses.fields(SlowBudget)}
    steps, rate, way = (control(fields[name], fields[name].default) for name in ("steps", "rate", "way"))
    assert (steps.description, steps.min, steps.max, steps.value) == (
        "steps (steps)",
        1,
        100_000,
        50_000,
    )
    assert steps.tooltip == "how often to step"
    steps.value = 10**9  # a value that would break the search cannot be set
    assert steps.value == 100_000
    assert (rate.min, rate.max, rate.value) == (0.0, 1.0, 0.5)
    assert way.options == ("up", "down")


@pytest.mark.parametrize("name", sorted(search.methods_by_name()))
def test_every_methods_presets_fit_its_controls(name):
    panel = SearchPanel(name)
    budget = panel.entry.budget
    for preset in budget.PRESETS:
        panel.preset.value = preset
        shown = {field: widget.value for field, widget in panel.controls.items()}
        assert budget.preset(preset, **shown) == budget.preset(preset)


def test_chosen_fields_and_given_values_are_what_is_shown_and_run():
    panel = SearchPanel("slow", fields=("rate",), rate=0.25, steps=2)
    assert list(panel.controls) == ["rate"] and panel.controls["rate"].value == 0.25
    result = panel.run()
    assert len(result.history) == 2 and result.reward == 0.25


@pytest.mark.parametrize(
    "options",
    [
        {"method": "nothing"},
        {"method": "slow", "fields": ("rat",)},
        {"method": "slow", "budget": "tiny"},
    ],
)
def test_a_panel_that_cannot_be_says_why_in_one_line(options):
    with pytest.raises(UserError) as error:
        SearchPanel(**options)
    assert "\n" not in str(error.value)


def test_a_finished_search_can_be_resumed_in_a_panel(tmp_path):
    first = nascore.run("random", data="nasbench201", budget="smoke", directory=tmp_path, progress=False)
    panel = SearchPanel("random", data="nasbench201", directory=tmp_path, resume=True)
    assert panel.run().history == first.history and panel.status.value.startswith("done")


def test_nothing_is_printed(capfd):
    SearchPanel("slow").run()
    SearchPanel("slow", fails=1).run()
    assert capfd.readouterr() == ("", "")


def test_a_curve_is_drawn_from_its_first_value_to_its_last():
    svg = ElementTree.fromstring(curve([2.0] + [1.5] * 998 + [1.0], "training <loss>", "#0072B2")).find("svg")
    points = svg.find("polyline").get("points").split()
    assert len(points) <= 202 and points[0] == "0,0" and points[-1] == "999,1"  # from the top left to the bottom right
    assert svg.get("viewBox") == "0 0 999 1" and svg.get("aria-label") == "training <loss>: 1"
    ElementTree.fromstring(curve([1.0], "one value", "#0072B2"))
