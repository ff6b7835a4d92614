"""What a panel shows of a search: how far it is, its curves, the architecture as it changes."""

from collections.abc import Sequence
from html import escape
from threading import Event
from time import monotonic
from typing import Any

from nascore.expected import Expected, in_words
from nascore.genotypes import Genotype
from nascore.search import Progress
from nascore.show.canvas import GREY
from nascore.show.drawing import draw
from nascore.show.plots import Plots, light, plots

REFRESH = 0.2  # seconds between two updates of the panel
CELL_HEIGHT, CURVES_HEIGHT = 220, 160  # pixels; fixed, so that nothing below the panel moves


class View:
    """Turns the progress of one search into at most one update of its panel every `REFRESH`
    seconds, and none once `stop` is set but that it has ended."""

    def __init__(self, panel: Any, stop: Event | None = None) -> None:
        self.panel = panel
        self.stop = stop or Event()
        self.drawn: Genotype | None = None
        self.due = 0.0
        self.began = monotonic()
        self.first: tuple[float, float] | None = None  # the time of the first step, and its share
        self.rows: list[dict] = []
        self.behind: Sequence[float] | None = None  # random search; it waits for a step
        self.best_reward = -1.0
        self.best: Genotype | None = None
        self.last: Progress | None = None
        self.phase = ""

    def begin(self, found: Expected) -> None:
        """Before there is a step: one architecture of the space, faint."""
        size = f"{found.size:,}" if found.size < 10**15 else f"{found.size:.2e}"
        text = f"One of {size} architectures"
        if found.weights:
            kind = "the supernet" if self.panel.entry.one_shot else "as a child"
            text += f"; {kind} has {found.weights:,} weights"
        self.panel.curves.value = f'<span style="color:{GREY}">{text}.</span>'
        self.show(found.genotype, "opacity:0.4")
        self.drawn = None

    def doing(self, what: str) -> None:
        """What goes on between two steps, or before the first."""
        self.phase = what
        if self.last is None:
            self._say(what)
        elif monotonic() >= self.due:
            self.refresh()

    def update(self, progress: Progress) -> None:
        """A step: it is kept, and shown where the last one was shown long enough ago."""
        now = monotonic()
        self.first = self.first or (now, progress.share)
        self.rows.append({**progress.metrics, "step": progress.step, "reward": progress.reward})
        reward = progress.reward
        if reward is not None and reward > self.best_reward:
            self.best_reward = reward
            self.best = progress.genotype
        self.last = progress
        if now >= self.due:
            self.refresh()

    def plots(self) -> Plots:
        """The curves so far, and random search's behind them where it is known."""
        if self.behind is None and self.last:
            self.behind = self.panel.random_search(self.last.total)
        return plots(self.rows, () if self.behind is None else self.behind)

    def refresh(self) -> None:
        """Bring the panel to where the search is."""
        progress = self.last
        if progress is None:  # a finished search was resumed: no step
            return
        panel = self.panel
        panel.bar.value = progress.step / max(1, progress.total)
        words = [f"step {progress.step} of {progress.total}"]
        if progress.reward is not None:
            words.append(f"reward {progress.reward:.4f}, best {self.best_reward:.4f}")
        words.append(self._times(progress))
        if self.phase.startswith("child") and progress.step < progress.total:
            words.append(self.phase)
        self._say("; ".join(words))
        panel.curves.value = "".join(light(*plot) for plot in self.plots().items())
        # A multi-trial search is shown by the best architecture so far.
        self.show(progress.genotype if panel.entry.one_shot else self.best or progress.genotype)
        self.due = monotonic() + REFRESH

    def _times(self, progress: Progress) -> str:
        """How long it has taken, and will: the first step, which is slow, counts no more once there
        are others."""
        now = monotonic()
        spent = f"{now - self.began:.0f} s"
        began, before = self.first or (now, 0.0)
        done = progress.share
        if done <= before:
            began, before = self.began, 0.0
        if not 0 < done < 1:
            return spent
        left = progress.left
        if left is None:
            left = (now - began) / (done - before) * (1 - done)
        return f"{spent}, about {in_words(left)} left"

    def _say(self, text: str) -> None:
        if not self.stop.is_set():
            self.panel.status.value = text

    def show(self, genotype: Genotype | None, style: str = "") -> None:
        """Draw the genotype, if it is another than the one shown."""
        if genotype in (None, self.drawn):
            return
        self.drawn = genotype
        fitted = 'max-width:100%;max-height:100%" preserveAspectRatio="xMidYMin meet'
        svg = draw(genotype).svg.replace("max-width:100%;height:auto", fitted, 1)
        held = f'style="height:{CELL_HEIGHT}px;{escape(style)}"'
        self.panel.cell.value = f"<div {held}>{svg}</div>"
