"""How large a network is, and the sizes of the papers' own by name."""

from dataclasses import dataclass
from typing import Any

from nascore import formats, spaces
from nascore.errors import UserError, one_of, whole
from nascore.genotypes import CellGenotype, ChainGenotype, Genotype, MacroGenotype, kind
from nascore.spaces.examine import example

# The most of what is counted, from 1; in the order in which they are checked.
LIMITS = {"input": 4096, "channels": 4096, "cells": 200, "classes": 1_000_000, "in_channels": 1024}
# What a genotype of these skeletons decides itself: such a size says nothing there.
DECIDED: dict[str, tuple[str, ...]] = {
    "nas-rl": ("stem", "channels", "cells", "auxiliary"),
    "enas-macro": ("stem", "cells", "auxiliary"),
    "enas-macro-full": ("stem", "cells", "auxiliary"),
}


@dataclass(frozen=True)
class Sizes:
    """All of a network that its genotype leaves open: the skeleton that stacks it and its stem; the
    channels of the first cell's nodes; the number of cells, reductions included, ImageNet's two
    stem cells not; the classes; the side of an image, in pixels; whether there is an auxiliary
    head; the channels of an image. By default DARTS's network on CIFAR-10."""

    skeleton: str = "darts"
    stem: str = "cifar"
    channels: int = 36
    cells: int = 20
    classes: int = 10
    input: int = 32
    auxiliary: bool = False
    in_channels: int = 3

    def check(self) -> None:
        """Raises `UserError` for an unknown skeleton, and for a number that is out of its
        limits."""
        one_of("skeleton", self.skeleton, HOMES)
        for name, most in LIMITS.items():
            whole(name, getattr(self, name), 1, most)

    def open(self) -> dict[str, Any]:
        """By name, those that no genotype of this skeleton decides itself."""
        decided = DECIDED.get(self.skeleton, ())
        return {name: size for name, size in vars(self).items() if name not in decided}


# The first one of a skeleton is its home.
NETWORKS: dict[str, Sizes] = {
    "darts-cifar": Sizes(),
    "darts-imagenet": Sizes("darts", "imagenet", 48, 14, 1000, 224),
    "nasnet-cifar": Sizes("nasnet", "cifar", 32, 20),
    "nasnet-mobile": Sizes("nasnet", "imagenet", 44, 14, 1000, 224),
    "nasnet-large": Sizes("nasnet", "imagenet-large", 168, 20, 1000, 331),
    "pnasnet-cifar": Sizes("pnasnet", "cifar", 48, 9),
    "pnasnet-mobile": Sizes("pnasnet", "imagenet", 54, 9, 1000, 224),
    "pnasnet-large": Sizes("pnasnet", "imagenet-large", 216, 12, 1000, 331),
    "enas-cifar": Sizes("enas", "cifar", 36, 17),
    "enas-macro-cifar": Sizes("enas-macro", channels=96),
    "enas-macro-full-cifar": Sizes("enas-macro-full", channels=96),
    "nasbench201-cifar": Sizes("nasbench201", "cifar", 16, 17),
    "nas-rl-cifar": Sizes("nas-rl"),
}
HOMES: dict[str, Sizes] = {}
for _sizes in NETWORKS.values():
    HOMES.setdefault(_sizes.skeleton, _sizes)


def home(
    genotype: formats.Source,
    skeleton: str | None = None,
    network: str | Sizes | None = None,
    **sizes: Any,
) -> Sizes:
    """The sizes of the network that a genotype (whatever `formats.read` takes) belongs in:
    `network`, an entry of `NETWORKS` or one's name, or the home of its skeleton. What does not say
    so by its name (`formats.skeleton_of`) belongs where its kind does. `sizes` that are not None
    override it. Raises `UserError`, for a recurrent cell too."""
    if network is not None and not isinstance(network, Sizes):
        network = NETWORKS[one_of("network", network, NETWORKS)]
    skeleton = skeleton or (network.skeleton if network else formats.skeleton_of(genotype))
    genotype = formats.read(genotype)
    skeleton = one_of("skeleton", skeleton or _skeleton_for(genotype), HOMES)
    at_home = HOMES[skeleton].open()
    given = {name: size for name, size in sizes.items() if size is not None}
    _, *names = at_home  # but the skeleton, which is said otherwise
    for name in given:
        one_of(f"size in the skeleton {skeleton}", name, names)
    of_network = network.open() if network else {}
    return Sizes(**{**at_home, **of_network, **given, "skeleton": skeleton})


def _skeleton_for(genotype: Genotype) -> str:
    """DARTS's for two cells; a cell without a reduction cell belongs in NAS-Bench-201's if it has
    one input, in PNASNet's if it has two."""
    match genotype:
        case CellGenotype(normal, None):
            return "nasbench201" if normal.n_inputs == 1 else "pnasnet"
        case CellGenotype():
            return "darts"
        case ChainGenotype():
            return "nas-rl"
        case MacroGenotype():
            return "enas-macro"
    raise UserError(f"kind: found {kind(genotype)!r}, allowed: cell, chain, macro")


def skeleton_of_space(space: Any) -> str:
    """How the architectures of a space are stacked: as it says, or as one of them is at home."""
    return spaces.of(space).skeleton or home(example(space)).skeleton
