"""Search spaces: decisions <-> genotype.

A space says how many options each decision has and what network the decisions mean, and no more;
who decides is a method's matter. `get(name, **sizes)` gives the papers' spaces. A space of one's
own is a `Space`, or any object with `choices_at`, `decode`, `size` and `sample`; see `Space` for
what follows from these, and for what some methods need besides.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import signature
from typing import Any

from nascore.errors import UserError, look_up, reason, require, shorten
from nascore.spaces.cells import Blocks, CellSpace, Edges, Pairs
from nascore.spaces.chains import Chains, Macro
from nascore.spaces.guards import Decisions
from nascore.spaces.space import Names, Space, Token, of

__all__ = [
    "SPACES", "Blocks", "CellSpace", "Chains", "Decisions", "Edges", "Macro", "Pairs", "Space",
    "Token", "get", "of", "register",
]  # fmt: skip

DARTS_PRIMITIVES = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5",
    "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
NASNET_PRIMITIVES = (
    "skip_connect", "conv_3x1_1x3", "conv_7x1_1x7", "full_dil_conv_3x3", "avg_pool_3x3",
    "max_pool_3x3", "max_pool_5x5", "max_pool_7x7", "conv_1x1", "conv_3x3", "sep_conv_3x3",
    "sep_conv_5x5", "sep_conv_7x7",
)  # fmt: skip
PNAS_PRIMITIVES = (
    "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "conv_7x1_1x7", "skip_connect", "avg_pool_3x3",
    "max_pool_3x3", "full_dil_conv_3x3",
)  # fmt: skip
ENAS_MACRO_PRIMITIVES = (
    "conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3",
)  # fmt: skip
ENAS_PRIMITIVES = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
NASBENCH201_PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

BOTH = ("normal", "reduce")


def darts(nodes: int = 4, primitives: Names = DARTS_PRIMITIVES) -> Pairs:
    """DARTS's cells (section 2.1)."""
    return Pairs("darts", "darts", primitives, nodes, BOTH)


def nas_rl(
    layers: int = 15,
    strides: bool = False,
    filters: Sequence[int] = (24, 36, 48, 64),
    sides: Sequence[int] = (1, 3, 5, 7),
) -> Chains:
    """NAS-RL's chains of convolutions, `sides` high and wide (section 3.1, with the skips of
    3.3)."""
    return Chains(layers, strides, filters, sides)


def nasnet(blocks: int = 5, primitives: Names = NASNET_PRIMITIVES) -> Blocks:
    """NASNet's cells (section 3)."""
    order = ("input 1", "input 2", "op 1", "op 2", "combine")
    return Blocks("nasnet", "nasnet", primitives, blocks, BOTH, order, "unused")


def pnas(blocks: int = 5, primitives: Names = PNAS_PRIMITIVES) -> Blocks:
    """PNAS's cell (section 3), which serves at stride 2 too."""
    order = ("input 1", "input 2", "op 1", "op 2")
    return Blocks("pnas", "pnasnet", primitives, blocks, ("normal",), order, "all")


def enas_macro(layers: int = 12, primitives: Names = ENAS_MACRO_PRIMITIVES) -> Macro:
    """ENAS's whole networks (section 2.3)."""
    return Macro(layers, primitives)


def enas_micro(nodes: int = 5, primitives: Names = ENAS_PRIMITIVES) -> Blocks:
    """ENAS's cells (section 2.4)."""
    order = ("input 1", "op 1", "input 2", "op 2")
    return Blocks("enas-micro", "enas", primitives, nodes, BOTH, order, "loose ends")


@lru_cache(maxsize=1)  # one object, so that all runs share its decoded genotypes
def nasbench201() -> Edges:
    """NAS-Bench-201's cells, of which `estimators.Table` holds the accuracies."""
    return Edges("nasbench201", "nasbench201", NASBENCH201_PRIMITIVES, 3, ("normal",))


SPACES: dict[str, Callable[..., Any]] = {
    "nas-rl": nas_rl,
    "nasnet": nasnet,
    "pnas": pnas,
    "enas-macro": enas_macro,
    "enas-micro": enas_micro,
    "darts": darts,
    "nasbench201": nasbench201,
}


def register(name: str, make: Callable[..., Any]) -> None:
    """Make a space of your own known by its name: `make(**sizes)` returns it. Registering a name
    again replaces it."""
    good = isinstance(name, str) and name and name.isprintable()
    require(good, "name of a space", name, "a word")
    require(callable(make), f"space {name}", make, "a function that makes it")
    SPACES[name] = make


def get(name: str, **sizes: Any) -> Any:
    """The space `name`, with the paper's sizes or your own. Raises `UserError` for an unknown
    name or size."""
    make = look_up(SPACES, name, "space")
    try:
        known = list(signature(make).parameters)
    except ValueError:  # some built-in classes have none
        known = []
    for size in sizes:
        require(size in known, f"size of the space {name}", size, known or "none")
    try:
        return make(**sizes)
    except UserError:
        raise
    except Exception as error:
        raised = shorten(reason(error), 200)
        raise UserError(f"space {name}: making it raised {raised}") from error
