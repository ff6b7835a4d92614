"""What the notebooks of PNAS and ENAS draw, load, time and check with: numbers come out as they went in."""

import json
import math
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import IPython.display
import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, t

import course.checks_0304 as checks
from course import beam, controls, counting, light, sharing, spreads, stored, timing
from course.ranking import Agreement, agreement
from nascore import data, spaces
from nascore.estimators import Table
from nascore.genotypes import canonical, to_json
from nascore.methods.enas import ENAS, MicroBudget
from nascore.methods.pnas import PNASBudget
from nascore.published import GENOTYPES
from nascore.show.chart import Chart

RUNS = Path(__file__).parents[1] / "notebooks" / "runs"
BENCH = spaces.get("nasbench201")


def runs(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text())


def to_dict(genotype) -> dict:
    return json.loads(to_json(genotype))


# --- intervals ------------------------------------------------------------------------------------


def test_a_mean_has_student_s_interval_from_five_runs_on():
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    spread = spreads.mean_of(values)
    low, high = t.interval(0.95, 4, loc=np.mean(values), scale=np.std(values, ddof=1) / 5**0.5)
    assert (spread.middle, spread.low, spread.high) == pytest.approx((6.2, low, high))
    few = spreads.mean_of(values[:4])
    assert few.low is None and few.high is None and few.words == "3.75"


def test_quartiles_hold_the_middle_half():
    spread = spreads.quartiles_of(range(101))
    assert (spread.low, spread.middle, spread.high) == (25, 50, 75)
    assert sum(25 <= run <= 75 for run in spread.runs) == 51


def test_every_number_has_its_line_its_bar_and_its_ticks():
    groups = {
        "one": {"a": spreads.Spread(0.5, 0.25, 0.75, (0.2, 0.8)), "b": spreads.Spread(0.6)},
        "two": {"b": spreads.Spread(0.1, 0.0, 0.2)},
    }
    chart = spreads.spreads(groups, "share", at=0)
    (axes,) = chart.axes
    markers = {line.get_xdata()[0] for line in axes.lines if line.get_marker() in "os" and len(line.get_xdata())}
    assert markers == {0.5, 0.6, 0.1}
    drawn = [tuple(line.get_xdata()) for line in axes.lines]
    assert (0.25, 0.75) in drawn and (0.0, 0.2) in drawn
    (ticks,) = axes.collections
    assert [segment[:, 0].tolist() for segment in ticks.get_segments()] == [[0.2, 0.2], [0.8, 0.8]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "two"]
    assert chart.words == "share. one: a 0.50 (0.25 to 0.75) of 0.20, 0.80, b 0.60; two: b 0.10 (0.00 to 0.20)."


def test_where_there_is_one_name_there_is_no_key():
    chart = spreads.spreads({"one": {"": spreads.Spread(1.0)}}, "share", low=0.5)
    assert chart.axes[0].get_legend() is None and chart.axes[0].get_xlim()[0] == 0.5


# --- a control --------------------------------------------------------------------------------------


def test_a_picture_follows_its_controls_and_stays_without_them(monkeypatch):
    shown, updated = [], []

    class Handle:
        def update(self, picture):
            updated.append(picture)

    monkeypatch.setattr(IPython.display, "display", lambda what, **how: shown.append((what, how)) or Handle())
    a, b = controls.slider("a", 1, 5, 3), controls.slider("b", 0.0, 1.0, 0.5, step=0.1)
    controls.play(lambda a, b: f"{a} {b}", a=a, b=b)
    assert shown[1] == ("3 0.5", {"display_id": True})
    a.value = 4
    b.value = 0.2
    assert updated == ["4 0.5", "4 0.2"]
    a.value = 9  # out of bounds: clamped by the widget
    assert updated[-1] == "5 0.2"


# --- light pictures ---------------------------------------------------------------------------------


def test_a_light_picture_has_all_that_is_seen():
    chart, (axes, other) = light.panels(2)
    axes.plot([1, 2, 3], [1, 4, 9], "o-", label="squares")
    other.bar(["a", "b"], [3, 5], hatch="//")
    axes.legend()
    chart.words = "Squares & bars."
    whole = ElementTree.fromstring(Chart.svg.fget(chart))
    part = ElementTree.fromstring(chart.svg)
    for tag in ("path", "use", "text", "image", "clipPath"):
        found = [root.findall(f".//{light.SVG}{tag}") for root in (whole, part)]
        assert len(found[0]) == len(found[1])
        assert [element.get("d") for element in found[0]] == [element.get("d") for element in found[1]]
        texts = [[(element.text or "").strip() for element in elements] for elements in found]
        assert texts[0] == texts[1]
    ids = {element.get("id") for element in part.iter()}
    assert {name for element in part.iter() for name in light._references(element)} <= ids
    assert part.get("aria-label") == "Squares & bars." and len(chart.svg) < 0.75 * len(Chart.svg.fget(chart))


def test_single_points_become_an_image():
    chart, (axes,) = light.panels()
    axes.plot(range(500), range(500), ".")
    axes.plot(range(500), range(500))
    large = len(chart.svg)
    assert light.with_dots_as_image(chart) is chart and len(chart.svg) < large / 3
    assert [line.get_rasterized() for line in axes.lines] == [True, False]


# --- PNAS -------------------------------------------------------------------------------------------


def test_the_authors_lists_are_pnasnet_5_if_the_first_inputs_are_exchanged():
    assert canonical(beam.as_published(True)) == canonical(GENOTYPES["pnasnet-5"])
    assert canonical(beam.as_published(False)) != canonical(GENOTYPES["pnasnet-5"])


def test_a_beam_keeps_the_best_child_of_the_first_k():
    children = [3.0, 9.0, 4.0, 7.0]
    assert "the best child of all, 9.00, grows from place 2; a beam of 1 reaches 3.00, 6.00 less" in (
        beam.kept({"x": children}, 1).words
    )
    for k in (2, 3, 4):
        assert f"a beam of {k} reaches 9.00, 0.00 less" in beam.kept({"x": children}, k).words


def test_the_groups_of_a_stored_table_are_its_columns():
    stored_table = runs("pnas_table")
    groups = beam.by_queries(stored_table)
    assert list(groups) == ["25 queries", "100 queries", "300 queries"]
    column = np.array(stored_table["methods"]["pnas, lstm"])[:, 1]
    assert groups["100 queries"]["pnas, lstm"].middle == pytest.approx(column.mean())
    ranks = runs("pnas_ranks")["digits"]
    groups = beam.seen_and_new(ranks)
    assert list(groups)[:3] == ["level 1, seen", "level 2, new", "level 2, seen"] and len(groups) == 6
    new = [repeat[2][1] for repeat in ranks["mlp"]]
    assert groups["level 4, new"]["mlp"].middle == pytest.approx(np.median(new))


def test_growth_leaves_out_what_there_is_none_of():
    chart = beam.growth({"all": [10, 100, 1000], "scored": [None, 50, 60]})
    lines = [list(line.get_xdata()) for line in chart.axes[0].lines]
    assert lines == [[1, 2, 3], [2, 3]] and chart.words.endswith("at 3: all 1e+03, scored 60.")


def test_guesses_say_what_the_best_guess_is_worth():
    words = beam.guesses([10.0, 30.0, 20.0], [5.0, 6.0, 7.0], ["a", "b", "a"], 0.5).words
    assert words.endswith("rank correlation 0.50. The best by the guess has 6.0 %, the best of all 7.0 %.")


# --- ENAS -------------------------------------------------------------------------------------------


def test_a_cell_carries_nothing_where_the_table_has_it_at_chance():
    table, random = Table(), Random(0)
    cells = [BENCH.decode(BENCH.sample(random)) for _ in range(300)]
    alive = [sharing.carries(to_dict(cell)) for cell in cells]
    assert alive == [table.row(cell)["cifar10_test_200ep"] > 10 for cell in cells]
    assert 0 < alive.count(False) < 30


def test_two_phases_tell_paths_of_nothing_from_others():
    def row(step, decisions, **about):
        return {"step": step, "genotype": to_dict(BENCH.decode(decisions)), **about}

    paths = [row(k, [3] * 6 if k else [0] * 6, phase="shared", loss=2.0 - k / 10) for k in range(5)]
    learned = [row(5, [1] * 6, phase="controller", reward=0.5, baseline=0.1, entropy=9.0)]
    words = sharing.two_phases(paths + learned).words
    assert "training loss 1.9 to 1.6, 1 of 5 paths carry nothing; reward 0.5 to 0.5; baseline 0.1 to 0.1" in words
    assert sharing.two_phases(paths).words.endswith("carry nothing.")  # before the first step of the controller


def test_losses_of_nothing_are_those_of_dead_cells():
    rows = [("shared", [0] * 6, 2.4), ("shared", [3] * 6, 0.5), ("controller", [0] * 6, 9.0)]
    history = [{"phase": p, "loss": x, "genotype": to_dict(BENCH.decode(d))} for p, d, x in rows]
    assert sharing.losses_of_nothing(history) == [2.4] and sharing.skips(history) == [0, 0]


def test_a_bound_is_a_softmax_of_what_is_left():
    left = 2.5 * torch.tanh(sharing.BARE / 5)
    first = (left[0].exp() / left.exp().sum()).item()
    assert f"probability {first:.2f} " in sharing.squashed(2.5, 5.0).words
    assert "odds never above 148" in sharing.squashed(2.5, 5.0).words


def test_no_option_is_likelier_than_where_all_others_are_least():
    logits = torch.tensor([1.1, -1.1, -1.1, -1.1, -1.1])
    assert sharing.largest(1.1, 5) == pytest.approx(logits.softmax(0)[0].item())
    random = (2 * torch.rand(1000, 5, generator=torch.Generator().manual_seed(0)) - 1) * 1.1
    assert random.softmax(1).max() <= sharing.largest(1.1, 5)


def test_learning_is_the_mean_of_blocks():
    genotype = BENCH.decode([1] * 6)
    steps = [[(genotype, (k + s) / 100, {"entropy": 9.0 - k}) for k in range(20)] for s in (0, 2)]
    chart = sharing.learning({"one": steps}, most=9.7, block=10)
    assert chart.words.endswith("one: mean reward 15.5 %, entropy -5.50 nats at the end.")
    single = [line.get_ydata() for line in chart.axes[0].lines][0]
    assert np.allclose(single, [4.5, 14.5])


def test_stored_agreements_are_computed_anew():
    ranked = runs("sharing_rank")
    groups = sharing.against(ranked, resamples=20)
    shared, alone = zip(*((cell[1], cell[3]) for cell in ranked["nasbench201"][1]["cells"]))
    assert groups["200 epochs alone"]["seed 1"].middle == pytest.approx(kendalltau(shared, alone).statistic)
    best = sorted(zip(alone, shared))[-37:]
    found = kendalltau(*zip(*best)).statistic
    assert groups["200 epochs, best quarter"]["seed 1"].middle == pytest.approx(found, abs=0.05)  # ties at the edge
    last = sharing.after_epochs(ranked["nasbench201"])["seed 1"][100]
    assert last.tau == pytest.approx(groups["200 epochs alone"]["seed 1"].middle, abs=1e-3)


def test_agreement_over_epochs_says_every_one():
    found = {"a": {2: Agreement(0.1, 0.0, 0.2), 6: Agreement(0.3, 0.2, 0.4)}, "b": {6: Agreement(-0.5, -0.6, -0.4)}}
    chart = sharing.as_it_learns(found)
    assert chart.words.endswith("a: tau-b 0.10 after 2, 0.30 after 6 epochs; b: tau-b -0.50 after 6 epochs.")
    assert [label.get_text() for label in chart.axes[0].get_xticklabels()] == ["2", "6"]


def test_a_supernet_is_ranked_after_so_many_epochs():
    images = data.load("digits")
    budget = MicroBudget.preset("smoke", sampler="uniform", controller_steps=0, epochs=2)
    search = ENAS(BENCH, images, budget, 0, torch.device("cpu"))
    cells = [BENCH.decode(row) for row in search.sample(12, "to rank").lists()]
    light = [sharing.without_weights(cell) for cell in cells]
    found = sharing.while_it_learns(search, cells, {"light": light}, (1, 2))
    assert list(found["light"]) == [1, 2] and search.steps == search.total
    shared = sharing.SharedWeights(search.supernet, search.task)(cells)
    assert found["light"][2] == agreement(shared, light, resamples=300)


def test_the_untrained_controller_is_what_its_biases_say():
    space = spaces.get("enas-micro")
    search = ENAS(space, data.load("digits"), MicroBudget.preset("smoke"), 0, torch.device("cpu"))
    shares = sharing.untrained(search)
    liked, other = math.exp(0.44 + 0.25), math.exp(-0.25)  # the tanh of the bias of 10 is 1
    assert shares["normal cell"][0] == pytest.approx(liked / (2 * liked + 3 * other), abs=1e-4)
    assert shares["reduction cell"][0] == pytest.approx(math.exp(0.44) / (2 * math.exp(0.44) + 3), abs=1e-4)
    words = sharing.first_preferences(shares, space.primitives).words
    assert "normal cell: sep_conv_3x3 0.315, sep_conv_5x5 0.315" in words


def test_the_entropy_of_the_samples_lies_around_the_policy_s_own():
    exact = [9.0, 8.9, 8.5, 8.4, 8.1]
    seen = [9.0, 9.2, 8.5, 8.9, 8.1]
    worst = [0.0, -0.8, 0.0, -0.7, 0.0]
    rows = [
        {"step": k, "exact": e, "error": 0.1, "sampled": s, "worst": w}
        for k, (e, s, w) in enumerate(zip(exact, seen, worst))
    ]
    words = sharing.entropies(rows, 9.7).words
    assert "exactly 9.00 to 8.10 nats. 60% of the reported" in words
    assert "2 steps sample a cell" in words and "they make 78% of the fall, among them the 2 largest." in words


def test_the_stored_policy_begins_at_chance_and_its_samples_tell_its_entropy():
    for watched in runs("enas_entropy").values():
        assert watched[0]["exact"] == pytest.approx(6 * math.log(5), abs=0.01)
        errors = [(row["sampled"] - row["exact"]) / row["error"] for row in watched if row["error"] > 0.001]
        assert 0.7 < np.std(errors) < 1.3 and abs(np.mean(errors)) < 0.5
        assert all(sum(row["shares"]) == pytest.approx(1, abs=1e-3) for row in watched)


def test_every_pair_of_accuracies_is_said():
    words = sharing.shared_and_alone({"a": [(90.0, 91.5), (92.0, 90.5)]}).words
    assert words.endswith("a: 90.0 and 91.50, 92.0 and 90.50.")


# --- stored runs, times -----------------------------------------------------------------------------


def test_a_stored_run_is_loaded_with_its_budget():
    run = stored.load(RUNS / "pnas-cifar10")
    assert len(run.history) == run.budget["trials"] == 24
    best = max((row for row in run.history if row["level"] == 3), key=lambda row: row["reward"])
    assert to_dict(run.genotype)["normal"] == best["genotype"]["normal"]
    lines = stored.beside(run, PNASBudget.preset("full"), ("trials", "child_epochs")).splitlines()
    assert lines[1].split() == ["trials", "24", "1160"] and lines[2].split() == ["child", "epochs", "2", "20"]


def test_a_step_is_scaled_to_the_paper_s_budget(monkeypatch):
    calls = []
    assert timing.seconds(lambda: calls.append(sum(range(10_000)))) > 0 and len(calls) == 5
    monkeypatch.setattr(timing, "seconds", lambda call: call() and 0 or 1.0)
    full = PNASBudget.preset("full", channels=2, cells=3)
    assert timing.child_hours(GENOTYPES["pnasnet-5"], full, 0) == pytest.approx(45_000 / 8 * 20 / 3600)
    # 281 minibatches and 30 steps of ten samples, 160 images each, timed with 16.
    hours = timing.supernet_hours(spaces.get("enas-micro", nodes=1), MicroBudget.preset("full"), 0)
    assert hours == pytest.approx(150 * (281 + 300) * 10 / 3600)


# --- exercises --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operations", (2, 3))
def test_a_right_count_is_called_right(operations):
    one, two = (len(counting.enumerate_unique(b, ops=operations)) for b in (1, 2))
    assert checks.counted(one, two, operations).words == f"Right: {one:,} and {two:,}"
    assert "one block: too many" in checks.counted(one + 1, two, operations).words
    assert "two blocks: too few" in checks.counted(one, two - 1, operations).words
    assert checks.counted(one, None, operations).words.startswith("not done yet")


def test_a_known_mistake_is_named():
    halves, lists = 2 * 3, 21 * 45  # three operations: blocks of two and of three inputs
    words = checks.counted(halves**2, lists, 3).words
    assert words.startswith("Not yet right: one block: both orders of its halves")
    assert "two blocks: both orders of blocks that do not read each other" in words
    assert "the diagonal" in checks.counted(halves * (halves - 1) // 2, lists // 2, 3).words
    filled = [line for line in checks.counted(30, 1, 3).axes[0].lines if len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in filled] == [21, 9]  # different blocks, and those counted twice


def test_a_curve_says_where_it_is_furthest_from_the_right_one():
    def square(x):
        return x**2

    assert checks.curve(lambda x: x * x, square, "of x").words.startswith("Right")
    assert checks.curve(lambda x: None, square, "of x").words.startswith("not done yet")
    words = checks.curve(lambda x: x, square, "of x").words
    assert words == "Not yet right: furthest apart at -2 it is -2 instead of 4"
    words = checks.curve(lambda x: x**2 if x < 1 else math.nan, square, "of x", 0, 1).words
    assert words.startswith("Not yet right: furthest apart at 1 ")
    chart = checks.curve(lambda x: x, square, "of x", 0, 4)
    wanted, yours, apart = (line.get_ydata() for line in chart.axes[0].lines)
    assert list(apart) == [4, 16] and yours[-1] == 4 and wanted[-1] == 16


def test_a_choice_says_who_comes_first():
    members = torch.tensor([[0.8, 0.7], [0.8, 0.9]])
    right = members.mean(0) + members.std(0)
    names = ("one", "two")
    assert checks.choice(right, right, members, names).words == "Right: two comes first"
    assert checks.choice(None, right, members, names).words.startswith("not done yet")
    assert "one comes first, it should be two" in checks.choice(members[0], right, members, names).words
    assert "the scores are not" in checks.choice(right + 1, right, members, names).words
    assert "found 4" in checks.choice(members, right, members, names).words


def test_points_are_held_against_their_curve():
    def square(x):
        return x * x

    assert checks.points({2: 4.0, 3: 9.0}, square, range(5), "x").words.startswith("Right")
    assert checks.points({2: 4.0, 3: None}, square, range(5), "x").words == "not done yet: the value at 3"
    assert checks.points({2: 4.0, 3: 8.5}, square, range(5), "x").words == "Not yet right: at 3 it is -0.500 off"


def test_a_beam_that_misses_is_told_from_one_that_finds():
    families = {parent: [(parent, child) for child in range(3)] for parent in range(4)}
    assert checks.misses(lambda cell: None, families).words.startswith("not done yet")

    def plain(cell):
        return cell if isinstance(cell, int) else sum(cell)

    def together(cell):
        return plain(cell) if cell != (0, 0) else 100

    assert checks.misses(plain, families).words.startswith("Not yet right: a beam of 1 finds the best, 5.")
    assert checks.misses(together, families).words == "Right: a beam of 1 ends at 5, the best child has 100"
    assert checks.misses(together, families, k=4).words.startswith("Not yet right")


# --- all of them ------------------------------------------------------------------------------------

FIGURES = {
    "spreads": lambda: spreads.spreads(beam.by_queries(runs("pnas_table_imagenet16")), "accuracy", low=38),
    "kept": lambda: beam.kept({name: range(125, 0, -1) for name in "abc"}, 48),
    "squashed": lambda: sharing.squashed(1.1, 0.0),
    "entropies": lambda: sharing.entropies(runs("enas_entropy")["seed 0"], 9.7),
    "two phases": lambda: sharing.two_phases(stored.load(RUNS / "enas-micro-cifar10").history),
    "counted": lambda: checks.counted(196, 105 * 231, 7),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_small_says_what_it_shows_and_is_the_same_each_time(name):
    chart = FIGURES[name]()
    svg = chart.svg
    assert len(svg) < 30_000 and svg == FIGURES[name]().svg
    assert 30 < len(chart.words) and f'aria-label="{chart.words[:20]}' in svg
