"""The papers' own architectures, read from `tables/published.json`, each with where it was printed
and its home.

Nodes stand in their printed order. Input 0 is the cell before the previous and 1 the previous;
where a paper counts the other way round, they were swapped. The authors of NASNet-A concatenate one
cell input and one used state as well (6F and 4F channels), which `nasnet-a` keeps and the DARTS
repository's `nasnet-a-darts` does not. DARTS's fixed first state of a recurrent cell is node 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from json import loads
from pathlib import Path
from types import MappingProxyType

from nascore.genotypes import Genotype, from_dict


@dataclass(frozen=True)
class Published:
    """A genotype, where it was printed, and the skeleton in which its authors trained it."""

    genotype: Genotype
    source: str
    skeleton: str


_FILE = loads((Path(__file__).parent / "tables" / "published.json").read_text(encoding="utf-8"))
PUBLISHED: Mapping[str, Published] = MappingProxyType({
    name: Published(from_dict(entry["genotype"]), entry["source"], entry["skeleton"])
    for name, entry in _FILE.items()
})  # fmt: skip
GENOTYPES: Mapping[str, Genotype] = MappingProxyType(
    {name: entry.genotype for name, entry in PUBLISHED.items()}
)
