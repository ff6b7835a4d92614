"""What notebooks 05 and 07 take from `notebooks/course`: numbers against another way to them, and what the checkers of
the exercises say of right and wrong answers."""

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course import checks_0507, collapse, few_images, second_order
from nascore.estimators import Table
from nascore.genotypes import as_dict
from nascore.methods import darts
from nascore.nets import measure

RUNS = Path(__file__).parents[1] / "notebooks" / "runs"
STORED = RUNS / "collapse.json"


def script(name: str):
    """One of the scripts of `notebooks/runs` as a module."""
    spec = importlib.util.spec_from_file_location(f"runs_{name}", RUNS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the pictures at the top ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["darts_idea", "images_idea"])
def test_a_picture_is_one_that_browsers_show_with_text_that_can_be_read(name):
    svg = ElementTree.parse(RUNS.parents[1] / "figures" / f"{name}.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg" and svg.get("width") == "940"  # a pixel is a pixel
    sizes = [float(text.get("font-size")) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert len(sizes) > 10 and min(sizes) >= 11


# --- 05: second order -----------------------------------------------------------------------------------------------


def test_the_small_problem_is_smooth_where_it_says_so():
    """Equation 8 against the exact product: its error falls with the probe only without kinks."""
    smooth = second_order.product_errors(True, (1e-2, 1e-3))
    rough = second_order.product_errors(False, (1e-2, 1e-3))
    assert 80 < smooth[0] / smooth[1] < 120 and min(rough) > 1


def test_a_relative_error_is_of_all_tensors_together():
    wanted = [torch.tensor([3.0]), torch.tensor([0.0, 4.0])]
    assert second_order.relative_error([t * 1.1 for t in wanted], wanted) == pytest.approx(0.1, rel=1e-5)


def test_the_pictures_of_the_second_order_say_their_numbers():
    radii = [0.1, 0.01, 0.001]
    words = second_order.errors_by_length({"smooth": [1e-2, 1e-4, 1e-6]}, radii).words
    assert words == "Error of equation 8 against r. smooth: 1.0e-04 at 0.01, 1.0e-06 at 0.001."
    searches = json.loads((RUNS / "hessian.json").read_text())["searches"]
    words = second_order.through_a_search(searches).words
    cosines = [row["r=0.01"]["cosine"] for row in searches["finite-difference"]["products"]]
    assert f"r = 0.01: cosine {min(cosines):.2f} to {max(cosines):.2f}" in words
    a, b = (torch.tensor(searches[name]["alphas"]).softmax(-1) - 1 / 8 for name in ("exact", "first order"))
    cosine = ((a * b).sum() / (a.norm() * b.norm())).item()
    assert f"alphas of exact and first order: cosine {cosine:.2f}" in words


# --- 05: does DARTS collapse ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs():
    return collapse.load(STORED)


def test_the_stored_searches_are_alike_but_for_the_remedy_and_small():
    assert STORED.stat().st_size < 150_000
    stored = json.loads(STORED.read_text())
    seeds = {name: [run["seed"] for run in stored["runs"] if run["name"] == name] for name in collapse.LOOKS}
    assert len(seeds["plain"]) >= 3 and seeds["plain"] == seeds["weight decay"]
    assert len({tuple(run["steps"]) for run in stored["runs"]}) == 1


def test_what_a_cell_is_worth_is_what_the_table_says(runs):
    table = Table()
    for run in runs:
        for k in (0, len(run.steps) // 2, -1):
            genotype = collapse.SPACE.decode(list(map(int, run.cells[k])))
            worth = table.row(genotype)["cifar10_test_200ep"]
            assert run.worth[k] == worth
            assert run.rank[k] == 1 + sum(table.columns["cifar10_test_200ep"] > worth)
            operations = [op for node in genotype.normal.nodes for op in node.ops]
            assert run.count("skip_connect")[k] == operations.count("skip_connect")
            assert run.count("none")[k] == operations.count("none")


def test_a_stored_cell_is_the_strongest_operation_of_every_edge(runs):
    for run in runs:
        assert np.allclose(run.edges.sum(-1), 1, atol=0.004)  # to three digits each
        for cell, edges in zip(run.cells, run.edges):
            chosen = edges[np.arange(6), list(map(int, cell))]
            assert (chosen >= edges.max(-1) - 0.001).all()


def test_the_script_counts_and_stops_as_it_says():
    found = script("collapse")
    skips = found.summary("111111")
    assert (skips["skips"], skips["nones"], skips["worth"]) == (6, 0, collapse.PUBLISHED)
    assert skips["rank"] == 1 + sum(collapse.WORTH > collapse.WORTH[int("111111", 5)])
    assert found.summary("000000")["nones"] == 6 and found.summary("000000")["worth"] == 10.0

    def row(step, epoch, cell):
        genotype = collapse.SPACE.decode(list(map(int, cell)))
        return {"step": step, "epoch": epoch, "genotype": as_dict(genotype)}

    history = [row(1, 1, "110000"), row(2, 1, "100000"), row(3, 2, "100000"), row(4, 2, "111000"), row(5, 3, "111111")]
    assert found.stopped(history[:2]) is None  # two skips, but not at the end of an epoch
    assert (found.stopped(history)["step"], found.stopped(history)["cell"]) == (4, "111000")


def test_the_overview_and_a_moment_say_how_each_search_ends(runs):
    words = collapse.overview(runs, 93.75).words
    for run in runs:
        assert f"{run.title}: {run.count('skip_connect')[-1]} skips" in words and f"{run.worth[-1]:.2f} %" in words
    run = runs[0]
    words = collapse.moment(run, run.steps[3] + 1).words  # the last row at or before that step
    assert f"at step {run.steps[3]:,}:" in words and f"worth {run.worth[3]:.2f} %" in words


def test_the_scrubber_shows_the_step_and_the_search_that_are_chosen(runs):
    box = collapse.scrubber(runs)
    (which, _, slider), (view, cell) = box.children[0].children, box.children[1:]
    assert f"{runs[0].title} at step {runs[0].steps[-1]:,}" in view.value and "<svg" in cell.value
    which.value = 1
    slider.value = runs[1].steps[2].item()
    assert f"{runs[1].title} at step {runs[1].steps[2]:,}" in view.value
    assert f"place {runs[1].rank[2]:,} of" in cell.value


# --- 07: few images -------------------------------------------------------------------------------------------------


def test_how_often_a_difference_is_seen_agrees_with_simulated_test_sets():
    n, gap, disagree = 500, 0.04, 0.12
    dice = np.random.default_rng(0)
    only_a, only_b, _ = dice.multinomial(n, [(disagree + gap) / 2, (disagree - gap) / 2, 1 - disagree], 20_000).T
    seen = np.mean((only_a - only_b) / n > 1.96 * np.sqrt(disagree / n))
    words = few_images.told_apart(n, gap, disagree).words
    assert abs(float(words.split("seen in ")[1].split("%")[0]) / 100 - seen) < 0.03


def test_the_sliders_move_the_picture():
    box = few_images.how_many_images()
    (n, gap), view = box.children[0].children, box.children[1]
    n.value, gap.value = 2_000, 5.0
    assert "On 2,000 images a difference of 5 points" in view.value


def test_the_plain_network_is_that_of_the_run():
    ours, theirs = few_images.small_resnet(6, 6), script("your_own_images").small_resnet(6, 6)
    assert measure.parameters(ours) == measure.parameters(theirs)
    x = torch.randn(2, 3, 16, 16)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert few_images.small_resnet(4, 3, channels=1)(torch.randn(2, 1, 16, 16)).shape == (2, 3)


def test_networks_stand_beside_the_found_one_best_first():
    right = {"found": np.arange(10) < 6, "random 0": np.arange(10) < 4, "ResNet": np.arange(10) >= 1}

    def chance(a, b):
        m, k = (a != b).sum(), max((a & ~b).sum(), (b & ~a).sum())
        return min(1.0, 2 * sum(comb(m, j) for j in range(k, m + 1)) / 2**m)

    words = few_images.beside(right, {"found": 10, "random 0": 20, "ResNet": 30}, chance).words
    assert words.index("ResNet: 90.0") < words.index("found: 60.0") < words.index("random 0: 40.0")
    assert "only found 1, only it 4, P = 0.375" in words and "only found 2, only it 0, P = 0.500" in words


def test_a_gallery_has_a_picture_of_every_class():
    pictures = {name: Image.new("RGB", (4, 4), colour) for name, colour in (("red", "red"), ("blue", "blue"))}
    chart = few_images.gallery(pictures)
    shown = [axes.images[0].get_array() for axes in chart.axes]
    assert [axes.get_title() for axes in chart.axes] == list(pictures) and chart.words.endswith("red, blue.")
    assert all((image == np.asarray(picture)).all() for image, picture in zip(shown, pictures.values()))


def test_each_kind_of_network_has_its_mean_and_deviation():
    words = few_images.at_full_size({"resnet": [(80.0, 5_000), (90.0, 15_000)]}, "accuracy").words
    assert "resnet: 2 networks, 85.00 ± 7.07 %, 80.00 to 90.00, with 5.0 to 15.0 thousand weights" in words


# --- the checkers ---------------------------------------------------------------------------------------------------


def unrolled(weight, gradient, velocity, xi, momentum, weight_decay):
    return weight - xi * (momentum * velocity + gradient + weight_decay * weight)


def search(seed: int, *cells: str) -> collapse.Run:
    losses = np.ones(len(cells))
    return collapse.Run(
        "plain", seed, np.arange(len(cells)), list(cells), np.ones((len(cells), 6, 5)) / 5, losses, losses, None
    )


RUNS_OF_THREE = [search(0, "100000", "110000", "111000"), search(1, "000000", "111111")]
PATH = np.array([[2.0, -2.0], [0.7, 0.7], [2 / 3, 2 / 3]])
ANSWERS = {  # what a checker says of nothing, of a right answer, of a wrong one and of what is wrong with it
    "ends_at": (lambda a: checks_0507.ends_at(a, PATH), None, 0.667, 1.0, "where the path ends"),
    "unrolled": (
        checks_0507.unrolled,
        lambda *_: None,
        unrolled,
        lambda w, g, v, xi, m, d: w - xi * (m * v + g),
        "with weight decay, both, ξ twice as large",
    ),
    "images_needed": (
        checks_0507.images_needed,
        lambda *_: None,
        lambda delta, q: 2.8**2 * (q - delta**2) / delta**2,
        lambda delta, q: 2.8**2 * q / delta**2,
        "δ = 0.01, q = 0.05, δ = 0.02, q = 0.1, δ = 0.05, q = 0.2",
    ),
    "stops": (
        lambda answer: checks_0507.stops(answer, RUNS_OF_THREE),
        lambda skips: None,
        lambda skips: next((k for k, count in enumerate(skips) if count >= 2), len(skips)),
        lambda skips: next((k for k, count in enumerate(skips) if count > 2), len(skips)),
        "plain, seed 0",
    ),
    "mirrored": (checks_0507.mirrored, (None, None), (0.5, 1.0), (0.9, 1.0), "flip=True"),
    "minibatches": (checks_0507.minibatches, None, 484 % 32, 32, "the last bar of the second picture"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_checker_knows_right_from_wrong_and_says_where(name):
    check, nothing, right, wrong, where = ANSWERS[name]
    assert check(nothing).words.startswith("not done yet")
    assert check(right).words.startswith("Right. ")
    assert check(wrong).words.startswith(f"Not yet right: look at {where}. ")


def test_the_unrolled_step_of_the_exercise_is_the_librarys():
    """The rings of the picture, against the formula of the folded solution."""
    for numbers in checks_0507.UNROLLED.values():
        weight, gradient, velocity, xi, momentum, decay = numbers
        (right,) = darts.unrolled_weights(
            [torch.tensor([weight])], [torch.tensor([gradient])], xi, [torch.tensor([velocity])], momentum, decay
        )
        assert right.item() == pytest.approx(unrolled(*numbers))


def test_a_small_learning_rate_of_alpha_leaves_the_entropy_where_it_was():
    words = checks_0507.entropies(0.0003).words
    assert "0.0003: from 2.0794 to 2.0794" in words and "0.03: from 2.07" in words
