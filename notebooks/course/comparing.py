"""Which optimiser? Many seeds of several searchers on the same table, and whether they differ."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations, count, takewhile
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray
from scipy.stats import bootstrap, mannwhitneyu
from tqdm import tqdm

from course.anytime import anytime
from nascore import registry, spaces
from nascore.answers import Estimate, name_of
from nascore.errors import UserError, one_of, reason, require, shorten, whole
from nascore.estimators import Table
from nascore.files import PathName, write_json
from nascore.record import directory_named
from nascore.show.chart import Chart
from nascore.threads import one_thread
from nascore.trials import Decisions, MultiTrial, TrialBudget
from nascore.workers import default_number, unordered

DATA = {"nasbench201": "cifar10", "cifar10": "cifar10", "cifar100": "cifar100"}
DATA |= {"imagenet16": "imagenet16"}
AT_ONCE = 5  # seeds that a worker runs before it says so
RESAMPLES = 9_999
SURE = 0.05  # the level of a test, after Holm
# A method by its name, perhaps with fields of its budget, its class, or a function that proposes.
Searcher = str | tuple[str, dict] | type | Callable
Ready = tuple[Callable, Any]  # what builds a search, and its budget


class Queried(NamedTuple):
    """A table of one data set, and each cell by the number that its decisions are in base 5."""

    data: str
    answers: dict  # by genotype

    @staticmethod
    def of(data: str) -> "Queried":
        """Searched by the validation accuracy after 12 epochs on that data set."""
        space = spaces.get(Table.space)
        signal = Table().columns[f"{data}_valid"] / 100
        cells = (space.decode(digits) for digits in np.ndindex(*space.choices))
        answers = {cell: Estimate(reward) for cell, reward in zip(cells, signal.tolist())}
        return Queried(data, answers)

    def __call__(self, genotypes: Sequence) -> list[Estimate]:
        return [self.answers[genotype] for genotype in genotypes]


class Proposing(MultiTrial):
    """A function of one's own as a method."""

    def __init__(self, propose: Callable, space, estimate, budget: TrialBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        self.function = propose
        self.random = Random(seed)

    def propose(self, count: int) -> list[Decisions]:
        return [self.function(self.trials, self.space, self.random)]


def _ready(searcher: Searcher, queries: int) -> Ready:
    """How any searcher is built, and with what budget: a worker may not know its name."""
    known = registry.methods_by_name().values()
    searcher, fields = searcher if isinstance(searcher, tuple) else (searcher, {})
    name: Any = next((entry.name for entry in known if entry.build is searcher), searcher)
    if not isinstance(name, str):
        require(callable(searcher), "compare", searcher, "a method, or a function that proposes")
        return partial(Proposing, name), TrialBudget(trials=queries, children=1)
    entry = registry.get(name)
    require(not entry.one_shot, "compare", entry.name, "a method that asks an estimator")
    return entry.build, entry.budget.preset("reduced", trials=queries, **fields)


@one_thread()
def queried(ready: Ready, data: str, seeds: Sequence[int]) -> list[list[int]]:
    """Which cells are evaluated, in order, for each of these seeds: their rows of the table."""
    build, budget = ready
    space = spaces.get(Table.space)
    estimate = Queried.of(data)
    base = 5 ** np.arange(5, -1, -1)
    found = []
    for seed in seeds:
        search = build(space, estimate, budget, seed)
        while not search.done:
            search.step()
        found.append((np.array(search.decisions) @ base).tolist())
    return found


@dataclass(frozen=True)
class Comparison:
    """What several searchers found: by name, the test accuracy after 200 epochs of the cell that
    the search signal says is best, in percent, (seeds, queries)."""

    data: str
    found: Mapping[str, ndarray]

    @property
    def chart(self) -> Chart:
        """What is missing to the best of the table, as searches go on."""
        best = Table().columns[f"{self.data}_test_200ep"].max()
        return anytime(self.found, f"{self.data}: points below the best", best)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return self.chart._repr_mimebundle_()

    @property
    def last(self) -> dict[str, ndarray]:
        """Of each seed, at the end: (seeds,)."""
        return {name: curves[:, -1] for name, curves in self.found.items()}

    @cached_property
    def rows(self) -> list[dict]:
        """A row a searcher, best first: mean over seeds with the interval of 95 % (bootstrap), sd,
        median and quartiles, the share that ended at the best cell found by any."""
        top = max(values.max() for values in self.last.values())
        rows = []
        for name, values in sorted(self.last.items(), key=lambda item: -item[1].mean()):
            low, high = interval(values)
            quartiles = np.quantile(values, (0.25, 0.5, 0.75)).round(3).tolist()
            row = {
                "name": name,
                "seeds": len(values),
                "mean": values.mean(),
                "low": low,
                "high": high,
            }
            row |= dict(zip(("q25", "median", "q75"), quartiles))
            rows.append(row | {"sd": values.std(ddof=1), "found": (values == top).mean()})
        return rows

    @cached_property
    def pairs(self) -> list[dict]:
        """Every two: the difference of their means, how probable it is that a run of the first
        beats one of the second (ties count half), Mann and Whitney's p, and Holm's correction."""
        pairs = []
        names = [row["name"] for row in self.rows]
        for a, b in combinations(names, 2):
            mine, other = self.last[a], self.last[b]
            test = mannwhitneyu(mine, other)
            superior = test.statistic / (len(mine) * len(other))
            pair = {"a": a, "b": b, "difference": mine.mean() - other.mean(), "superior": superior}
            pairs.append(pair | {"p": test.pvalue})
        for pair, p in zip(pairs, holm([pair["p"] for pair in pairs])):
            pair["holm"] = p
        return pairs

    def words(self, name: str) -> list[str]:
        """Where one stands, beside each other: whether the difference is one."""
        said = []
        for pair in self.pairs:
            if name in (pair["a"], pair["b"]):
                sign = 1 if name == pair["a"] else -1
                other = pair["b"] if sign == 1 else pair["a"]
                gap = sign * pair["difference"]
                wins = pair["superior"] if sign == 1 else 1 - pair["superior"]
                verdict = "a difference" if pair["holm"] < SURE else "it may be luck"
                numbers = f"{gap:+.2f} points, wins {wins:.0%} of duels, p = {pair['holm']:.2g}"
                said.append(f"{name} against {other}: {numbers}: {verdict}")
        return said

    def __str__(self) -> str:
        lines = [f"{'':24}mean   95 % interval    sd     median"]
        for row in self.rows:
            numbers = f"{row['mean']:.2f}  {row['low']:.2f} to {row['high']:.2f}  {row['sd']:.2f}"
            lines.append(f"{shorten(row['name']):24}{numbers}   {row['median']:.2f}")
        return "\n".join(lines)


def interval(values: ndarray) -> tuple[float, float]:
    """Of the mean, 95 %, by bootstrap; the same each time."""
    if len(values) < 2 or values.std() == 0:
        return values.mean(), values.mean()
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0)
    return found.confidence_interval


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction for so many tests."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = steps.clip(max=1)
    return corrected.tolist()


def compare(
    methods: Mapping[str, Searcher] | Sequence[str],
    data: str = "nasbench201",
    *,
    seeds: int = 200,
    queries: int = 300,
    directory: PathName | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Comparison:
    """Run every method `queries` queries long on the table, for `seeds` seeds, on all cores; with a
    `directory` what is done is kept there, and not run again. A method is one by its name, its
    class, or a function `propose(history, space, random)` that returns the next decisions, six
    numbers from 0 to 4; `history` are the trials so far, with `decisions` and `reward`. A name may
    come with fields of its budget: `("optuna", {"sampler": "gp"})`. Raises `UserError`."""
    named = dict(methods) if isinstance(methods, Mapping) else {name: name for name in methods}
    require(named, "methods", named, "one or more")
    data = DATA[one_of("data", data, DATA)]
    whole("seeds", seeds, 2, 100_000)
    whole("queries", queries, 1, 100_000)
    folder = directory_named(directory)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: _Kept(name, searcher, data, queries, folder) for name, searcher in named.items()}
    jobs = [
        (name, range(at, min(at + AT_ONCE, seeds)))
        for name, kept in wanted.items()
        for at in range(len(kept.runs), seeds, AT_ONCE)
    ]
    ready = {name: _ready(searcher, queries) for name, searcher in named.items()}
    call = partial(_job, ready, data)
    bar = tqdm(total=len(jobs) * AT_ONCE, disable=not progress, unit=" searches")
    with bar:
        for k, runs in unordered(call, jobs, workers or default_number()):
            if isinstance(runs, Exception):
                raise UserError(f"{jobs[k][0]}: {shorten(reason(runs), 200)}")
            wanted[jobs[k][0]].add(jobs[k][1].start, runs)
            bar.update(AT_ONCE)
    table = Table().columns
    signal, test = table[f"{data}_valid"], table[f"{data}_test_200ep"]
    curves = {name: test[incumbents(kept.first(seeds), signal)] for name, kept in wanted.items()}
    return Comparison(data, curves)


def incumbents(rows: ndarray, signal: ndarray) -> ndarray:
    """The row of the best cell so far by the signal, (seeds, queries); of equal ones the first."""
    values = signal[rows]
    best = np.maximum.accumulate(values, 1)
    news = np.where(np.diff(best, axis=1, prepend=-1) > 0, np.arange(rows.shape[1]), 0)
    return np.take_along_axis(rows, np.maximum.accumulate(news, 1), 1)


def _job(ready: Mapping[str, Ready], data: str, job: tuple[str, range]) -> Any:
    name, seeds = job
    try:
        return queried(ready[name], data, seeds)
    except Exception as error:  # it goes back to the parent, which says whose it is
        return UserError(reason(error).splitlines()[0])


class _Kept:
    """The runs of one method, each the rows of the table that it queried, and their file."""

    def __init__(self, name: str, searcher: Searcher, data: str, queries: int, folder: Path | None):
        self.file = folder and folder / f"{data}-{name}.json"
        self.queries = queries
        what = [*searcher] if isinstance(searcher, tuple) else searcher
        if callable(what):
            what = name_of(what)
        self.content = {"method": what, "data": data, "queries": queries}
        with suppress(OSError, TypeError):  # typed in a shell; a class's instance
            self.content["code"] = inspect.getsource(searcher)  # type: ignore[arg-type]
        self.runs: dict[int, list[int]] = {}
        if self.file and self.file.exists():
            known = json.loads(self.file.read_text())
            if {key: known.get(key) for key in self.content} == self.content:
                self.add(0, [list(map(int, run.split())) for run in known["runs"]])

    def add(self, start: int, runs: list[list[int]]) -> None:
        """Keep what came; in the file, as far as nothing is missing."""
        self.runs |= dict(enumerate(runs, start))
        if self.file:
            first = takewhile(lambda k: k in self.runs, count())
            texts = [" ".join(map(str, self.runs[k])) for k in first]
            write_json(self.file, self.content | {"runs": texts})

    def first(self, seeds: int) -> ndarray:
        """Of so many seeds (seeds, queries); a search that ended early stays where it was."""
        runs = [self.runs[k] for k in range(seeds)]
        return np.array([run + run[-1:] * (self.queries - len(run)) for run in runs])
