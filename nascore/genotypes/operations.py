"""The operations that a genotype may name, in one table: building, drawing and searching look at an
operation's family and kernel, never at its name."""

from dataclasses import dataclass

from nascore.errors import one_of


@dataclass(frozen=True)
class Operation:
    """What a name means. `family`: none, skip, separable (depthwise and pointwise, twice), dilated
    separable (once, at rate 2), convolution, dilated convolution (at rate 2), factorized
    convolution (1 x k, then k x 1), max pool, average pool, or own: a user's. `kernel` is k, in
    pixels."""

    family: str
    kernel: int = 1


# A line adds an operation: `nets` builds whatever belongs to a family.
_LINES = {
    "none": ("none", 1),
    "skip_connect": ("skip", 1),
    "avg_pool_3x3": ("average pool", 3),
    "max_pool_3x3": ("max pool", 3),
    "max_pool_5x5": ("max pool", 5),
    "max_pool_7x7": ("max pool", 7),
    "sep_conv_3x3": ("separable", 3),
    "sep_conv_5x5": ("separable", 5),
    "sep_conv_7x7": ("separable", 7),
    "dil_conv_3x3": ("dilated separable", 3),
    "dil_conv_5x5": ("dilated separable", 5),
    "full_dil_conv_3x3": ("dilated convolution", 3),
    "conv_3x1_1x3": ("factorized convolution", 3),
    "conv_7x1_1x7": ("factorized convolution", 7),
    "conv_1x1": ("convolution", 1),
    "conv_3x3": ("convolution", 3),
    "conv_5x5": ("convolution", 5),
    "nor_conv_1x1": ("convolution", 1),
    "nor_conv_3x3": ("convolution", 3),
}
TABLE = {name: Operation(family, kernel) for name, (family, kernel) in _LINES.items()}
# The names, an open set: `nets.operations.register` adds a user's own, or takes a published one's
# place.
OPERATIONS = set(TABLE)


def operation_named(name: str) -> Operation:
    """What a name means: its line of the table, or a user's own. Raises `UserError` for one that is
    not known."""
    known = one_of("operation", name, sorted(OPERATIONS))
    return TABLE.get(known, Operation("own"))
