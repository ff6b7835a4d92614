"""The plan of a stack of cells: where maps are halved, and how wide each cell is and what it
reads."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass


def reductions(cells: int) -> tuple[int, int]:
    """Where a stack of cells halves its maps and doubles its channels; the same place twice
    where `cells` is 1."""
    return cells // 3, 2 * cells // 3


def micro_reductions(cells: int) -> tuple[int, int]:
    """Where ENAS's stack of N + 2 cells does; in none of its cells where there is one."""
    third = (cells - 2) // 3
    return third, 2 * third + 1


def macro_reductions(layers: int) -> tuple[int, ...]:
    """The layers (from 0) after which ENAS's macro network halves its maps."""
    third = layers // 3
    return (third - 1, 2 * third - 1) if third else ()


@dataclass(frozen=True)
class Place:
    """A cell's place: the channels of its nodes, whether it halves its map, and the channels of the
    two outputs before it. `halved`: the previous cell halved its map, so that the output `before`
    it is twice as large. `holds`: the next cell reads the same `before` as this one."""

    index: int
    channels: int
    reduction: bool
    before: int
    previous: int
    halved: bool
    holds: bool = False

    @property
    def stride(self) -> int:
        """Of the cell: 2 where it halves its map."""
        return 2 if self.reduction else 1


def stack(
    channels: int,
    cells: int,
    reduces_at: Collection[int],
    stem: int,
    outputs: tuple[int, int] = (1, 1),
    *,
    first: Sequence[int] = (),
    halved: bool = False,
    holding: bool = False,
) -> Iterator[Place]:
    """The places of a stack, from the first to the last. A reduction doubles the channels.

    `stem`: the channels of what the stem puts out, which the first cell reads twice. `outputs`:
    what a normal and a reduction cell put out, in widths of their nodes. `first`: the channels of
    extra reductions at the front (NASNet on ImageNet). `halved`: the first cell's `before` is twice
    as large as its `previous` (DARTS on ImageNet). `holding`: after a reduction whose two inputs
    are equally large, the next cell keeps the same `before` (the large NASNet)."""
    before = previous = stem
    for index in range(len(first) + cells):
        at = index - len(first)
        reduction = at < 0 or at in reduces_at
        if at < 0:
            width = first[index]
        else:
            channels *= 2 if reduction else 1
            width = channels
        holds = holding and reduction and not halved
        yield Place(index, width, reduction, before, previous, halved, holds)
        if not holds:
            before = previous
        previous = outputs[reduction] * width
        halved = reduction
