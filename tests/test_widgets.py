"""A panel without a browser: set values, click, wait, and look at the search that came out of
it."""

import dataclasses
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from typing import ClassVar

import numpy as np
import pytest

import nascore
from nascore import registry, search
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.nets.measure import parameters
from nascore.published import GENOTYPES
from nascore.search import Budget, Progress, Trial, knob
from nascore.show import plots, view
from nascore.show.controls import FOLDER, control
from nascore.show.widgets import SearchPanel

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
    assert "best so far" in panel.curves.value and "random search" in panel.curves.value


def test_clicking_run_and_stop_leaves_the_caller_free():
    panel = SearchPanel("slow", budget="reduced", way="down", hold=2)
    panel.run_button.click()
    assert panel.run_button.disabled and not panel.stop_button.disabled
    assert reached.wait(HANGS)  # in the second step the first is on show
    assert panel.status.value.startswith("step 1 of 100000")
    assert "<svg" in panel.curves.value and "<svg" in panel.cell.value
    assert panel.result is None
    panel.stop_button.click()
    assert panel.status.value == "stopping after this step"  # at once
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
    monkeypatch.setattr(view, "monotonic", lambda: clock[0])
    clock[0] = 0.0
    panel = SearchPanel("slow", steps=200, fields=())
    seen = {"status": [], "cell": [], "curves": []}
    for name, values in seen.items():
        getattr(panel, name).observe(lambda change, values=values: values.append(change["new"]), "value")
    panel.run()
    assert view.REFRESH == 0.2
    shown = [*range(1, 200, 7), 200]
    steps = [text for text in seen["status"] if text.startswith("step ")]
    assert [int(text.split()[1]) for text in steps] == shown
    assert steps[0] == "step 1 of 200; reward 0.5000, best 0.5000; 0 s, about 6 s left"
    assert "; 3 s, about 3 s left" in steps[14]  # after half of the steps
    assert seen["status"][:3] == ["starting", "reading the data", "making the supernet"]
    assert len(seen["curves"]) == len(seen["cell"]) == len(shown)
    assert "training loss: training loss 0.005" in panel.curves.value and "entropy of alpha" in panel.curves.value
    assert "Normal cell: node 0 adds" in panel.cell.value and panel.cell.value.count("<svg") == 1


@pytest.mark.parametrize("fails, line", [(2, "the loss became nan at step 2"), (100, "ZeroDivisionError: a bug")])
def test_an_error_is_a_sentence_above_the_buttons_and_the_old_picture_goes(fails, line):
    panel = SearchPanel("slow", fails=fails)
    panel.cell.value = "<svg/>"
    assert panel.run() is None
    assert panel.message.value == f'<div role="alert">{line}</div>' and not panel.run_button.disabled
    assert panel.status.value == "it did not work" and panel.cell.value == panel.curves.value == ""
    places = [panel.children.index(widget) for widget in (panel.message, panel.curves, panel.cell)]
    assert places == sorted(places)


def test_an_unknown_folder_is_one_line_in_the_panel():
    panel = SearchPanel("slow")
    assert panel.source.folder.layout.display == "none"
    panel.source.choice.value = FOLDER
    assert panel.source.folder.layout.display == ""
    panel.source.folder.value = "no/such/folder"
    assert panel.run() is None and "data: found &#x27;no/such/folder&#x27;" in panel.message.value


def test_every_data_set_is_in_the_list_from_the_start():
    options = SearchPanel("random", data="nasbench201").source.choice.options
    assert options[:3] == ("digits", "nasbench201", "cifar10") and options[-1] == FOLDER
    assert "nasbench201" not in SearchPanel("darts").source.choice.options  # it trains on images


def test_controls_are_made_from_the_budgets_metadata():
    fields = {f.name: f for f in dataclasses.fields(SlowBudget)}
    steps, rate, way = (control(fields[name], fields[name].default) for name in ("steps", "rate", "way"))
    assert steps.description == '<abbr title="how often to step">steps</abbr>'  # its help is under the mouse
    assert steps.description_allow_html and steps.value == 50_000
    assert (rate.value, way.options) == (0.5, ("up", "down"))
    assert way.description == '<abbr title="up or down">way</abbr>'


def test_a_value_out_of_bounds_is_refused_in_words_and_stays_as_it_was_typed():
    panel = SearchPanel("slow")
    panel.controls["steps"].value = 0
    line = "steps: found 0, allowed: a whole number from 1 to 100000"
    assert line in panel.message.value and panel.controls["steps"].value == 0
    assert panel.run() is None and line in panel.message.value
    panel.controls["steps"].value = 2
    assert "found" not in panel.message.value
    assert len(panel.run().history) == 2


def test_a_preset_is_all_of_its_values_and_there_is_a_way_back():
    panel = SearchPanel("slow", fields=("rate",), rate=0.25, way="down", steps=5)
    assert panel.own_button.layout.display == "none"
    panel.preset.value = "full"
    assert panel.budget() == SlowBudget.preset("full")  # hidden values too
    assert "steps 50000 (here 5), rate 0.5 (here 0.25), way up (here down)" in panel.message.value
    assert panel.own_button.layout.display == ""
    panel.own_button.click()
    assert panel.budget() == SlowBudget.preset("smoke", rate=0.25, way="down", steps=5)
    assert panel.preset.value == "smoke" and panel.message.value == ""


def test_full_says_how_long_it_takes_and_asks():
    panel = SearchPanel("slow")
    panel.preset.value = "full"
    panel.run_button.click()
    assert not searches() and "Press once more to begin." in panel.message.value
    assert panel.run_button.description == "Run all the same"
    panel.controls["steps"].value = 3
    assert panel.run_button.description == "Run"  # another search: it asks again
    panel.run_button.click()
    panel.run_button.click()
    assert len(panel.wait(HANGS).history) == 3


def test_before_run_the_panel_shows_where_it_begins():
    panel = SearchPanel("random", data="nasbench201", budget="reduced")
    panel._repr_mimebundle_()  # as a notebook does to show it
    assert "One of 15,625 architectures." in panel.curves.value
    assert "opacity:0.4" in panel.cell.value and "<svg" in panel.cell.value
    assert panel.status.value.startswith("ready: about ")
    panel = SearchPanel("darts", channels=6)
    panel._repr_mimebundle_()
    weights = parameters(search.prepare("darts", budget="smoke", channels=6)[0].supernet)
    assert f"One of 1.08e+18 architectures; the supernet has {weights:,} weights." in panel.curves.value


def test_random_search_behind_a_curve_is_its_exact_expectation():
    rewards = Table().columns[Table.signal] / 100
    expected = plots.of_the_table(50)
    assert expected[0] == pytest.approx(rewards.mean(), rel=1e-9)
    two = rewards[:200]  # by brute force: all pairs
    assert plots.random_search(two, 2)[1] == pytest.approx(np.maximum.outer(two, two).mean(), rel=1e-9)
    assert (np.diff(expected) > 0).all() and expected[-1] < rewards.max()


def test_random_search_is_behind_the_curve_of_children_that_are_trained_as_its_own_were():
    known = {"smoke": [0.2, 0.5, 0.6], "reduced": [0.7, 0.8]}
    panel = SearchPanel("random", budget="smoke", behind=known)
    assert panel.random_search(3) == known["smoke"]
    panel.preset.value = "reduced"
    assert panel.random_search(24) == known["reduced"]
    panel.controls["child_epochs"].value = 7  # other children
    assert not panel.random_search(24)
    panel.controls["child_epochs"].value = 4
    panel.controls["trials"].value = 9
    assert panel.random_search(9) == known["reduced"]
    panel.source.choice.value = "cifar10"
    assert not panel.random_search(9)


def test_a_panel_as_a_picture_has_its_curves_and_its_words():
    panel = SearchPanel("random", data="nasbench201", trials=30)
    result = panel.run()
    words = panel.picture().words
    assert words.startswith("random: done after ") and "random search 0." in words
    assert f"best so far {result.reward:.4g} at step 30" in words


def test_a_search_that_runs_elsewhere_is_shown_from_its_files(tmp_path):
    there = tmp_path / "there"
    command = [sys.executable, "-m", "nascore", "search", "random", "--data", "nasbench201", "--trials", "40"]
    subprocess.run([*command, "--out", there, "--quiet"], check=True, capture_output=True)
    panel = SearchPanel.attach(there)
    assert panel.wait(HANGS) is None and panel.status.value == f"it has ended with step 40 of 40: {there}"
    assert "best so far" in panel.curves.value and "<svg" in panel.cell.value
    assert panel.run_button.layout.display == "none"
    with pytest.raises(UserError, match="no run to watch"):
        SearchPanel.attach(tmp_path / "nothing")


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


def test_a_curve_is_drawn_from_its_first_value_to_its_last_with_its_numbers():
    line = plots.Line("loss", range(1, 1001), [2.0] + [1.5] * 998 + [1.0], "#0072B2")
    svg = ElementTree.fromstring(plots.light("training <loss>", [line]))
    points = svg.find("polyline").get("points").split()
    assert len(points) <= plots.POINTS + 1
    assert points[0] == "44.0,22.0" and points[-1] == "282.0,116.0"  # from the top left to the bottom right
    assert svg.get("aria-label") == "training <loss>: loss 1"
    assert {text.text for text in svg.findall("text")} >= {"2", "1", "1,000", "step"}
    assert min(float(svg.get("font-size")), 11) >= 10
    ElementTree.fromstring(plots.light("one value", [plots.Line("one", [1], [1.0], "#0072B2")]))


def test_there_is_no_picture_before_there_is_a_step():
    with pytest.raises(UserError, match="picture: found 'ready', allowed: a search that has begun: press Run"):
        SearchPanel("random").picture()
