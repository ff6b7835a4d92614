"""The papers' own architectures, as genotypes in their printed order, each with where it was printed and its home.

Cells are written `op source | op source ; ... > concat`, nodes separated by `;`. Sources: 0 = the cell before the
previous, 1 = the previous, 2 .. = the nodes; where a paper counts its inputs the other way round they were swapped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nascore import genotypes
from nascore.errors import one_of
from nascore.genotypes import CellGenotype, Genotype


@dataclass(frozen=True)
class Published:
    """A genotype, where it was printed, and the skeleton in which its authors trained it."""

    genotype: Genotype
    source: str
    skeleton: str


def _rows(text: str) -> list[list[str]]:
    return [row.replace("|", " ").split() for row in text.split(";")]


def _graph(text: str) -> tuple[list[list[str]], tuple[int, ...]]:
    rows, concat = text.split(">")
    return _rows(rows), tuple(map(int, concat.split()))


def _cell(text: str) -> genotypes.Cell:
    rows, concat = _graph(text)
    return genotypes.Cell(tuple(genotypes.Node(tuple(map(int, row[1::2])), tuple(row[::2])) for row in rows), concat)


def _cells(normal: str, reduce: str) -> CellGenotype:
    return CellGenotype(_cell(normal), _cell(reduce))


def _recurrent(text: str) -> genotypes.RecurrentGenotype:
    rows, concat = _graph(text)
    return genotypes.RecurrentGenotype(tuple((int(source), activation) for activation, source in rows), concat)


def _tree(text: str, base: int, c_out: int, c_in: int) -> genotypes.RecurrentTree:
    *tree, inject = map(tuple, _rows(text))
    return genotypes.RecurrentTree(base, tuple(tree), inject, c_out, c_in)


def _chain(text: str) -> genotypes.ChainGenotype:
    rows = [map(int, row) for row in _rows(text)]
    layer = genotypes.ChainLayer
    return genotypes.ChainGenotype(
        tuple(layer((h, w), (1, 1), filters, tuple(inputs)) for h, w, filters, *inputs in rows)
    )


def _macro(text: str) -> genotypes.MacroGenotype:
    names = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5")
    rows = [map(int, row) for row in _rows(text)]
    layers = [(names[op], tuple(j for j, bit in enumerate(bits) if bit)) for op, *bits in rows]
    return genotypes.MacroGenotype(tuple(genotypes.MacroLayer(op, skips) for op, skips in layers))


_NASNET_NORMAL = """
    sep_conv_5x5 1 | sep_conv_3x3 0 ; sep_conv_5x5 0 | sep_conv_3x3 0 ; avg_pool_3x3 1 | skip_connect 0 ;
    avg_pool_3x3 0 | avg_pool_3x3 0 ; sep_conv_3x3 1 | skip_connect 1"""
_NASNET_REDUCE = """
    sep_conv_5x5 1 | sep_conv_7x7 0 ; max_pool_3x3 1 | sep_conv_7x7 0 ; avg_pool_3x3 1 | sep_conv_5x5 0 ;
    skip_connect 3 | avg_pool_3x3 2 ; sep_conv_3x3 2 | max_pool_3x3 1"""
_DARTS = "Liu, Simonyan, Yang, arXiv 1806.09055; quark0/darts"

PUBLISHED: Mapping[str, Published] = MappingProxyType({
    # Height, width, filters, then the layers it reads (none: the image).
    "nas-rl-15": Published(_chain("""
        3 3 36 ; 3 3 48 1 ; 3 3 36 1 2 ; 5 5 36 1 2 3 ; 3 7 48 3 4 ; 7 7 48 2 3 4 5 ; 7 7 48 2 3 4 5 6 ;
        7 3 36 1 6 7 ; 7 1 36 1 5 6 8 ; 7 7 36 1 3 4 5 6 7 8 9 ; 5 7 36 1 2 5 6 7 8 9 10 ; 7 7 48 1 2 3 4 6 11 ;
        7 5 48 1 3 6 7 8 9 10 11 12 ; 7 5 48 3 7 12 13 ; 7 5 48 6 7 11 12 13 14"""),
        "Zoph, Le, arXiv 1611.01578, figure 7; transcribed in JoacoTschopp/VC-ARN, arqui_cnn.py NASCNN15", "nas-rl"),
    # The eight leaves, the seven nodes above them, and what the memory is put in by.
    "nas-rl-rnn": Published(_tree("""
        add sigmoid ; add relu ; add sigmoid ; elem_mult relu ; add tanh ; add sigmoid ; add tanh ; add sigmoid ;
        elem_mult tanh ; add tanh ; elem_mult tanh ; add sigmoid ; elem_mult identity ; add tanh ; elem_mult tanh ;
        add tanh""", base=8, c_out=12, c_in=8),
        "Zoph, Le, arXiv 1611.01578; TensorFlow contrib NASCell", "recurrent"),
    # The authors concatenate one cell input and one used state as well: 6F and 4F channels.
    "nasnet-a": Published(_cells(f"{_NASNET_NORMAL} > 0 2 3 4 5 6", f"{_NASNET_REDUCE} > 3 4 5 6"),
        "Zoph, Vasudevan, Shlens, Le, arXiv 1707.07012; tensorflow/models slim nasnet_utils.py", "nasnet"),
    "nasnet-a-darts": Published(_cells(f"{_NASNET_NORMAL} > 2 3 4 5 6", f"{_NASNET_REDUCE} > 4 5 6"),
        "quark0/darts, cnn/genotypes.py NASNet, after arXiv 1707.07012", "darts"),
    "amoebanet-a": Published(_cells(
        """avg_pool_3x3 0 | max_pool_3x3 1 ; sep_conv_3x3 0 | sep_conv_5x5 2 ; sep_conv_3x3 0 | avg_pool_3x3 3 ;
           sep_conv_3x3 1 | skip_connect 1 ; skip_connect 0 | avg_pool_3x3 1 > 4 5 6""",
        """avg_pool_3x3 0 | sep_conv_3x3 1 ; max_pool_3x3 0 | sep_conv_7x7 2 ; sep_conv_7x7 0 | avg_pool_3x3 1 ;
           max_pool_3x3 0 | max_pool_3x3 1 ; conv_7x1_1x7 0 | sep_conv_3x3 5 > 3 4 6"""),
        "quark0/darts, cnn/genotypes.py AmoebaNet, after Real et al., arXiv 1802.01548", "darts"),
    "pnasnet-5": Published(CellGenotype(_cell(
        """sep_conv_5x5 0 | max_pool_3x3 0 ; sep_conv_7x7 1 | max_pool_3x3 1 ; sep_conv_5x5 1 | sep_conv_3x3 1 ;
           sep_conv_3x3 4 | max_pool_3x3 1 ; sep_conv_3x3 0 | skip_connect 1 > 2 3 4 5 6""")),
        "Liu et al., arXiv 1712.00559; tensorflow/models slim pnasnet.py, chenxi116/PNASNet.pytorch genotypes.py",
        "pnasnet"),
    # Operation, then one bit for the stem and for each layer before the direct predecessor.
    "enas-macro": Published(_macro("""
        0 ; 3 0 ; 0 1 0 ; 2 0 0 1 ; 2 0 0 0 0 ; 3 1 1 0 1 0 ; 2 0 0 0 0 0 1 ; 2 0 1 1 0 1 1 1 ; 1 0 1 1 1 0 1 0 1 ;
        0 0 0 0 0 0 0 0 0 0 ; 2 0 0 0 0 0 1 0 0 0 0 ; 0 1 0 0 1 1 0 0 0 0 1 1 ; 2 0 1 0 0 0 0 0 1 0 1 1 0 ;
        1 0 0 1 0 0 0 1 1 1 0 1 0 1 ; 0 1 1 0 1 0 1 0 0 0 0 0 1 0 0 ; 2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1 ;
        2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0 ; 2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1 ;
        3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0 ; 3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1 ;
        0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0 ; 3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0 ;
        0 1 0 1 0 1 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0 ; 0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0"""),
        "melodyguan/enas, scripts/cifar10_macro_final.sh, for arXiv 1802.03268", "enas-macro"),
    "enas-micro": Published(_cells(
        """avg_pool_3x3 0 | sep_conv_3x3 0 ; skip_connect 0 | sep_conv_5x5 0 ; skip_connect 0 | sep_conv_5x5 1 ;
           sep_conv_3x3 1 | sep_conv_5x5 0 ; avg_pool_3x3 0 | sep_conv_5x5 1 > 2 3 4 5 6""",
        """sep_conv_3x3 1 | sep_conv_3x3 1 ; max_pool_3x3 0 | avg_pool_3x3 0 ; sep_conv_5x5 1 | sep_conv_5x5 3 ;
           sep_conv_3x3 1 | skip_connect 0 ; max_pool_3x3 0 | sep_conv_5x5 1 > 2 4 5 6"""),
        "melodyguan/enas, scripts/cifar10_micro_final.sh, for arXiv 1802.03268", "enas"),
    "enas-rnn": Published(_recurrent(
        """tanh -1 ; tanh 0 ; relu 1 ; relu 2 ; tanh 2 ; tanh 2 ; relu 5 ; tanh 1 ; relu 6 ; relu 8 ; relu 8 ;
           relu 8 > 3 4 7 9 10 11"""),
        "melodyguan/enas, scripts/ptb_final.sh, for arXiv 1802.03268", "recurrent"),
    "darts-v1": Published(_cells(
        """sep_conv_3x3 1 | sep_conv_3x3 0 ; skip_connect 0 | sep_conv_3x3 1 ; skip_connect 0 | sep_conv_3x3 1 ;
           sep_conv_3x3 0 | skip_connect 2 > 2 3 4 5""",
        """max_pool_3x3 0 | max_pool_3x3 1 ; skip_connect 2 | max_pool_3x3 0 ; max_pool_3x3 0 | skip_connect 2 ;
           skip_connect 2 | avg_pool_3x3 0 > 2 3 4 5"""),
        f"{_DARTS}, cnn/genotypes.py DARTS_V1 (first order)", "darts"),
    "darts-v2": Published(_cells(
        """sep_conv_3x3 0 | sep_conv_3x3 1 ; sep_conv_3x3 0 | sep_conv_3x3 1 ; sep_conv_3x3 1 | skip_connect 0 ;
           skip_connect 0 | dil_conv_3x3 2 > 2 3 4 5""",
        """max_pool_3x3 0 | max_pool_3x3 1 ; skip_connect 2 | max_pool_3x3 1 ; max_pool_3x3 0 | skip_connect 2 ;
           skip_connect 2 | max_pool_3x3 1 > 2 3 4 5"""),
        f"{_DARTS}, cnn/genotypes.py DARTS_V2 (second order)", "darts"),
    # DARTS's fixed first state is node 0, written out.
    "darts-rnn-v1": Published(_recurrent(
        "tanh -1 ; relu 0 ; relu 1 ; tanh 2 ; relu 3 ; relu 4 ; identity 1 ; relu 5 ; relu 1 > 1 2 3 4 5 6 7 8"),
        f"{_DARTS}, rnn/genotypes.py DARTS_V1 (first order)", "recurrent"),
    "darts-rnn-v2": Published(_recurrent(
        "tanh -1 ; sigmoid 0 ; relu 1 ; relu 1 ; identity 1 ; tanh 2 ; sigmoid 5 ; tanh 3 ; relu 5 > 1 2 3 4 5 6 7 8"),
        f"{_DARTS}, rnn/genotypes.py DARTS_V2 (second order)", "recurrent"),
})  # fmt: skip

GENOTYPES: Mapping[str, Genotype] = MappingProxyType({name: entry.genotype for name, entry in PUBLISHED.items()})


def get(name: str) -> Published:
    """The published architecture of that name."""
    return PUBLISHED[one_of("published genotype", name, PUBLISHED)]
