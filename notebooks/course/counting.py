"""How many cells there are (PNAS, section 3.2): a cell is a list of blocks, a block the sum of two
(input, operation) pairs, an input one of the two previous cells or an earlier block, and all blocks
are put out.

`spaces.get("pnas", blocks=b).size()` counts lists. Here are the counts of cells: first without the
order of the two pairs in a block, then without the order of blocks that do not need each other.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations, combinations_with_replacement, permutations, product

INPUTS = 2  # the outputs of the two cells before

Pair = tuple[int, int]  # (input, operation); block b (from 0) is input 2 + b
Block = tuple[Pair, Pair]
Blocks = tuple[Block, ...]


def swap_reduced(blocks: int, ops: int = 8) -> int:
    """Lists of blocks, where the two pairs of a block have no order: the product of n (n + 1) /
    2 over the blocks, where block b (from 1) has n = ops (b + 1) pairs to choose from."""
    return math.prod(math.comb(ops * (INPUTS + b) + 1, 2) for b in range(blocks))


def unique_cells(blocks: int, ops: int = 8) -> int:
    """Cells up to the numbering of their blocks. By Burnside's lemma that is the mean, over all
    permutations of the blocks, of the number of cells that a permutation leaves as they are."""
    fixed = sum(_fixed(_cycle_lengths(p), ops) for p in permutations(range(blocks)))
    return fixed // math.factorial(blocks)


def _cycle_lengths(permutation: Sequence[int]) -> tuple[int, ...]:
    lengths = []
    left = set(range(len(permutation)))
    while left:
        start = at = left.pop()
        lengths.append(1)
        while (at := permutation[at]) != start:
            left.remove(at)
            lengths[-1] += 1
    return tuple(sorted(lengths))


@cache
def _fixed(lengths: tuple[int, ...], ops: int) -> int:
    """Cells without a circle, blocks numbered at will, that a permutation with cycles of these
    lengths maps to themselves. Blocks of one cycle cannot read each other, and all of a cycle are
    images of one of them.

    A cell without a circle has cycles that no other reads. Counted by inclusion and exclusion
    over sets of them: the others are such a cell of their own, and those of the set read only
    inputs and the others."""
    if not lengths:
        return 1
    total = 0
    for size in range(1, len(lengths) + 1):
        for unread in combinations(range(len(lengths)), size):
            others = tuple(length for k, length in enumerate(lengths) if k not in unread)
            choices = math.prod(_blocks(lengths[k], others, ops) for k in unread)
            total += (-1) ** (size + 1) * choices * _fixed(others, ops)
    return total


def _blocks(length: int, others: tuple[int, ...], ops: int) -> int:
    """Blocks that read only inputs and cycles of these other lengths, and that the permutation
    applied `length` times maps to themselves: both pairs stay where they are, or they change
    places."""
    stay = INPUTS + sum(other for other in others if length % other == 0)
    change = sum(other for other in others if length % other and 2 * length % other == 0)
    return math.comb(ops * stay + 1, 2) + ops * change // 2


def enumerate_unique(blocks: int, ops: int = 8) -> set[Blocks]:
    """All cells up to the numbering of their blocks, each by its smallest list: the same number
    as `unique_cells`, by going through the `swap_reduced` lists. Two blocks of eight operations
    take under a second."""
    pairs = [product(range(INPUTS + b), range(ops)) for b in range(blocks)]
    options = [list(combinations_with_replacement(of_block, 2)) for of_block in pairs]
    return {smallest(cell) for cell in product(*options)}


def smallest(cell: Blocks) -> Blocks:
    """The least of all lists of the same cell: over every order in which a block follows those
    that it reads."""
    lists: list[Blocks] = []
    for order in permutations(range(len(cell))):
        place = {0: 0, 1: 1}
        for new, block in enumerate(order):
            if any(j not in place for j, _ in cell[block]):
                break
            place[INPUTS + block] = INPUTS + new
        else:
            lists.append(tuple(_renumbered(cell[block], place) for block in order))
    return min(lists)


def _renumbered(block: Block, place: dict[int, int]) -> Block:
    """A block whose inputs have got new numbers, its two pairs in order."""
    first, second = sorted((place[j], op) for j, op in block)
    return first, second
