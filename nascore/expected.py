"""How long a search will take on this machine, from a step that is timed, and what it begins with.

It is what a panel shows before Run: the paper's own budget is days on one machine and years on
another.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any

from nascore.estimators import TrainChildren
from nascore.genotypes import Genotype
from nascore.loop import memory_errors, share
from nascore.nets.measure import parameters
from nascore.search import prepare
from nascore.spaces.examine import example
from nascore.threads import one_thread

LONG_ENOUGH = 1.0  # seconds of steps
UNITS = {"years": 31_557_600, "days": 86_400, "hours": 3_600, "minutes": 60}
# Arguments of `run` that are not about what is searched.
HOW = ("directory", "resume", "checkpoint_seconds", "memory", "graphs", "progress", "stop", "doing")


@dataclass(frozen=True)
class Expected:
    """A search that has not begun: an architecture of its space, and of how many; how many weights
    its network has (the supernet, or a child; 0 where a table is asked); the seconds it takes."""

    genotype: Genotype
    size: int
    weights: int
    seconds: float


def expected(method: str, **options: Any) -> Expected:
    """What `nascore.run(method, **options)` would begin with, and take. Raises its errors."""
    said = {name: value for name, value in options.items() if name not in HOW}
    with memory_errors(), one_thread():
        search, space = prepare(method, **said)
        genotype = example(space)
        estimate = getattr(search, "estimate", None)
        if not isinstance(estimate, TrainChildren):
            weights = parameters(search.supernet) if hasattr(search, "supernet") else 0
            return Expected(genotype, space.size(), weights, _all_steps(search))
        total = search.total
        training = estimate.child.training(genotype, estimate.task)
        largest = search.cost(total) - search.cost(total - 1)  # the example is no smaller
        children = search.cost(total) / largest
        seconds = estimate.pace(_all_steps(training) * children, search.budget.children)
        return Expected(genotype, space.size(), parameters(training.network), seconds)


def _all_steps(loop: Any) -> float:
    """What all steps take, from a few of them: the first, which is slower, counts where it is
    all."""
    start = 0.0
    began = monotonic()
    done = share(loop, loop.step())
    if not loop.done and done < 1:
        start = done
        began = monotonic()
    while not loop.done and (done == start or monotonic() - began < LONG_ENOUGH):
        done = share(loop, loop.step())
    return (monotonic() - began) / (done - start)


def in_words(seconds: float) -> str:
    """About how long that is: 40 s, 5 minutes, 3 hours, 20 days, 7 years."""
    for unit, length in UNITS.items():
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(1, seconds):.0f} s"
