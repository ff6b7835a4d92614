"""Accuracy against cost: which architectures no other beats in both, and how much they cover."""

from collections.abc import Mapping, Sequence

from nascore.errors import require
from nascore.show.chart import GREY, MARKERS, Chart, History, panels, styled

Point = tuple[float, float]  # cost, accuracy
Points = Sequence[Point]


def points(history: History, cost: str = "multiply_adds") -> list[Point]:
    """(cost, reward) of the rows of a constrained search that did not fail."""
    return [(row[cost], row["reward"]) for row in history if cost in row and "error" not in row]


def front(found: Points) -> list[Point]:
    """Those that no other beats, cheapest first: each is more accurate than all that cost no
    more."""
    best: list[Point] = []
    for cost, accuracy in sorted(found, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


@styled
def pareto(
    histories: Mapping[str, History],
    cost: str = "multiply_adds",
    truth: Points = (),
) -> Chart:
    """Searches by name, each row a dot at its cost and accuracy and each front a line of steps;
    `truth` is the front of the whole space, where that is known."""
    chart, (axes,) = panels(1, 3.4)
    words = []
    for (name, history), marker in zip(histories.items(), MARKERS):
        found = points(history, cost)
        require(found, name, f"no row with {cost}", "the history of a search under a bound")
        best = front(found)
        (line,) = axes.step(*zip(*best), where="post", label=name)
        axes.plot(*zip(*found), marker, markersize=3, alpha=0.3, color=line.get_color())
        least, low = best[0]
        most, high = best[-1]
        words.append(f"{name} from {low:.3f} at {least:.3g} to {high:.3f} at {most:.3g}")
    if truth:
        known = zip(*front(truth))
        axes.step(*known, where="post", color=GREY, linestyle=":", label="the whole space")
    label = cost.replace("_", "-")
    axes.set(xlabel=label, ylabel="accuracy")
    axes.legend(fontsize=8)
    chart.words = f"Accuracy against {label}: {'; '.join(words)}."
    return chart
