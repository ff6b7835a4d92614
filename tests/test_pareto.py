"""Accuracy against cost: the front by brute force, its area by counting, the shipped run by looking
again."""

import json
from pathlib import Path
from random import Random

import pytest

import nascore
from course.fronts import hypervolume
from nascore.errors import UserError
from nascore.show.chart import Chart
from nascore.show.pareto import front, pareto, points

RUN = json.loads((Path(__file__).parents[1] / "notebooks" / "runs" / "constrained.json").read_text())


def cloud(seed, count=40):
    random = Random(seed)
    return [(random.randrange(1, 20), random.randrange(20) / 20) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_beats(seed):
    found = cloud(seed)
    undominated = {(c, a) for c, a in found if not any((d <= c and b >= a) and (d, b) != (c, a) for d, b in found)}
    assert set(front(found)) == undominated and front(found) == sorted(undominated)


@pytest.mark.parametrize("seed", range(20))
def test_the_hypervolume_is_the_area_counted_in_squares(seed):
    found, most, least = cloud(seed), 15, 0.25
    squares = [(x, y) for x in range(most) for y in range(round(20 * least), 20)]
    covered = sum(any(c <= x and round(20 * a) > y for c, a in found) for x, y in squares)
    assert hypervolume(found, most, least) == pytest.approx(covered / (most * 15))


def test_nothing_covers_nothing_and_the_best_covers_all():
    assert hypervolume([], 10) == 0 and hypervolume([(0, 1.0)], 10) == 1 and hypervolume([(11, 1.0)], 10) == 0


def test_a_chart_of_two_searches_and_the_whole_space():
    how = dict(data="nasbench201", trials=40, max_multiply_adds=RUN["bound"], progress=False)
    histories = {method: nascore.run(method, **how).history for method in ("evolution", "random")}
    chart = pareto(histories, truth=RUN["front"])
    (cheapest, *_, best) = front(points(histories["random"]))
    assert f"{cheapest[1]:.3f} at {cheapest[0]:.3g} to {best[1]:.3f} at {best[0]:.3g}" in chart.words
    assert chart.words.startswith("Accuracy against multiply-adds: evolution from ") and "<title" in chart.svg
    pareto(histories, "parameters")


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_chart_is_drawn_once_to_be_saved(kind, tmp_path, monkeypatch):
    chart = pareto({"a": [{"multiply_adds": 2, "reward": 0.5}, {"multiply_adds": 3, "reward": 0.75}]})
    drawn, draw = [], Chart.savefig
    monkeypatch.setattr(Chart, "savefig", lambda self, *args, **how: drawn.append(how) or draw(self, *args, **how))
    content = chart.save(tmp_path / f"front.{kind}").read_bytes()
    assert len(drawn) == 1 and len(content) > 1000
    assert kind != "svg" or content.decode() == chart.svg


def test_the_shipped_run_is_what_a_search_gives_today():
    how = dict(data="nasbench201", trials=RUN["trials"], max_multiply_adds=RUN["bound"], progress=False)
    for method in ("evolution", "random"):
        assert RUN[method]["violations"] == 0 and len(RUN[method]["shares"]) == 60
        found = points(nascore.run(method, seed=3, **how).history)
        share = hypervolume(found, RUN["bound"], RUN["least"]) / RUN["hypervolume"]
        assert share == pytest.approx(RUN[method]["shares"][3])
    assert front([tuple(point) for point in RUN["front"]]) == [tuple(point) for point in RUN["front"]]


@pytest.mark.parametrize("history", [[], [{"reward": 0.5, "step": 1}]])
def test_a_history_without_costs_is_one_line(history):
    with pytest.raises(
        UserError,
        match="^mine: found 'no row with multiply_adds', allowed: the history of a search",
    ):
        pareto({"mine": history})
