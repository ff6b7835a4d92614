"""The papers' own architectures, as genotypes in their printed order, each with where it was printed and its home.

Cells are written `op source | op source ; ...`, nodes separated by `;`. Sources: 0 = the cell before the previous,
1 = the previous, 2 .. = the nodes; where a paper counts its inputs the other way round they were swapped here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nascore.errors import UserError, shorten
from nascore.genotypes import (
    Cell,
    CellGenotype,
    ChainGenotype,
    ChainLayer,
    Genotype,
    MacroGenotype,
    MacroLayer,
    Node,
    RecurrentGenotype,
    RecurrentTree,
)


@dataclass(frozen=True)
class Published:
    """A genotype, where it was printed, and the skeleton in which its authors trained it."""

    genotype: Genotype
    source: str
    skeleton: str


def _rows(text: str) -> list[str]:
    return [row.strip() for row in text.split(";")]


def _cell(text: str, concat: tuple[int, ...]) -> Cell:
    nodes = []
    for row in _rows(text):
        pairs = [pair.split() for pair in row.split("|")]
        nodes.append(Node(tuple(int(source) for _, source in pairs), tuple(op for op, _ in pairs)))
    return Cell(tuple(nodes), concat)


def _cells(normal: str, normal_concat: tuple[int, ...], reduce: str, reduce_concat: tuple[int, ...]) -> CellGenotype:
    return CellGenotype(_cell(normal, normal_concat), _cell(reduce, reduce_concat))


def _recurrent(text: str, concat: tuple[int, ...]) -> RecurrentGenotype:
    pairs = [row.split() for row in _rows(text)]
    return RecurrentGenotype(tuple((int(source), activation) for activation, source in pairs), concat)


def _chain(text: str) -> ChainGenotype:
    layers = []
    for row in _rows(text):
        height, width, filters, *inputs = map(int, row.split())
        layers.append(ChainLayer((height, width), (1, 1), filters, tuple(inputs)))
    return ChainGenotype(tuple(layers))


def _macro(text: str) -> MacroGenotype:
    names = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5")
    rows = [[int(token) for token in row.split()] for row in _rows(text)]
    return MacroGenotype(tuple(MacroLayer(names[op], tuple(j for j, bit in enumerate(b) if bit)) for op, *b in rows))


def _tree(leaves: str, inner: str, inject: str, c_out: int, c_in: int) -> RecurrentTree:
    blocks = [tuple(block.split()) for block in _rows(f"{leaves} ; {inner} ; {inject}")]
    return RecurrentTree(len(_rows(leaves)), tuple(blocks[:-1]), blocks[-1], c_out, c_in)


# Height, width, filters, then the layers it reads (none: the image).
_NAS_RL_15 = """
3 3 36 ; 3 3 48 1 ; 3 3 36 1 2 ; 5 5 36 1 2 3 ; 3 7 48 3 4 ; 7 7 48 2 3 4 5 ; 7 7 48 2 3 4 5 6 ; 7 3 36 1 6 7 ;
7 1 36 1 5 6 8 ; 7 7 36 1 3 4 5 6 7 8 9 ; 5 7 36 1 2 5 6 7 8 9 10 ; 7 7 48 1 2 3 4 6 11 ;
7 5 48 1 3 6 7 8 9 10 11 12 ; 7 5 48 3 7 12 13 ; 7 5 48 6 7 11 12 13 14
"""

# Operation, then one bit for the stem and for each layer before the direct predecessor.
_ENAS_MACRO = """
0 ; 3 0 ; 0 1 0 ; 2 0 0 1 ; 2 0 0 0 0 ; 3 1 1 0 1 0 ; 2 0 0 0 0 0 1 ; 2 0 1 1 0 1 1 1 ; 1 0 1 1 1 0 1 0 1 ;
0 0 0 0 0 0 0 0 0 0 ; 2 0 0 0 0 0 1 0 0 0 0 ; 0 1 0 0 1 1 0 0 0 0 1 1 ; 2 0 1 0 0 0 0 0 1 0 1 1 0 ;
1 0 0 1 0 0 0 1 1 1 0 1 0 1 ; 0 1 1 0 1 0 1 0 0 0 0 0 1 0 0 ; 2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1 ;
2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0 ; 2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1 ; 3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0 ;
3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1 ; 0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0 ;
3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0 ; 0 1 0 1 0 1 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0 ;
0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0
"""

_NASNET_NORMAL = """
sep_conv_5x5 1 | sep_conv_3x3 0 ; sep_conv_5x5 0 | sep_conv_3x3 0 ; avg_pool_3x3 1 | skip_connect 0 ;
avg_pool_3x3 0 | avg_pool_3x3 0 ; sep_conv_3x3 1 | skip_connect 1
"""
_NASNET_REDUCE = """
sep_conv_5x5 1 | sep_conv_7x7 0 ; max_pool_3x3 1 | sep_conv_7x7 0 ; avg_pool_3x3 1 | sep_conv_5x5 0 ;
skip_connect 3 | avg_pool_3x3 2 ; sep_conv_3x3 2 | max_pool_3x3 1
"""
_DARTS = "Liu, Simonyan, Yang, arXiv 1806.09055; quark0/darts"

PUBLISHED: Mapping[str, Published] = MappingProxyType({
    "nas-rl-15": Published(
        _chain(_NAS_RL_15),
        "Zoph, Le, arXiv 1611.01578, figure 7; transcribed in JoacoTschopp/VC-ARN, arqui_cnn.py NASCNN15",
        "nas-rl",
    ),
    "nas-rl-rnn": Published(
        _tree(
            "add sigmoid ; add relu ; add sigmoid ; elem_mult relu ; add tanh ; add sigmoid ; add tanh ; add sigmoid",
            "elem_mult tanh ; add tanh ; elem_mult tanh ; add sigmoid ; elem_mult identity ; add tanh ; elem_mult tanh",
            inject="add tanh", c_out=12, c_in=8,
        ),
        "Zoph, Le, arXiv 1611.01578; TensorFlow contrib NASCell",
        "recurrent",
    ),
    # The authors concatenate one cell input and one used state as well: 6F and 4F channels.
    "nasnet-a": Published(
        _cells(_NASNET_NORMAL, (0, 2, 3, 4, 5, 6), _NASNET_REDUCE, (3, 4, 5, 6)),
        "Zoph, Vasudevan, Shlens, Le, arXiv 1707.07012; tensorflow/models slim nasnet_utils.py",
        "nasnet",
    ),
    "nasnet-a-darts": Published(
        _cells(_NASNET_NORMAL, (2, 3, 4, 5, 6), _NASNET_REDUCE, (4, 5, 6)),
        "quark0/darts, cnn/genotypes.py NASNet, after arXiv 1707.07012",
        "darts",
    ),
    "amoebanet-a": Published(
        _cells(
            """avg_pool_3x3 0 | max_pool_3x3 1 ; sep_conv_3x3 0 | sep_conv_5x5 2 ; sep_conv_3x3 0 | avg_pool_3x3 3 ;
               sep_conv_3x3 1 | skip_connect 1 ; skip_connect 0 | avg_pool_3x3 1""", (4, 5, 6),
            """avg_pool_3x3 0 | sep_conv_3x3 1 ; max_pool_3x3 0 | sep_conv_7x7 2 ; sep_conv_7x7 0 | avg_pool_3x3 1 ;
               max_pool_3x3 0 | max_pool_3x3 1 ; conv_7x1_1x7 0 | sep_conv_3x3 5""", (3, 4, 6),
        ),
        "quark0/darts, cnn/genotypes.py AmoebaNet, after Real et al., arXiv 1802.01548",
        "darts",
    ),
    "pnasnet-5": Published(
        CellGenotype(
            _cell("""sep_conv_5x5 0 | max_pool_3x3 0 ; sep_conv_7x7 1 | max_pool_3x3 1 ;
                     sep_conv_5x5 1 | sep_conv_3x3 1 ; sep_conv_3x3 4 | max_pool_3x3 1 ;
                     sep_conv_3x3 0 | skip_connect 1""", (2, 3, 4, 5, 6))
        ),
        "Liu et al., arXiv 1712.00559; tensorflow/models slim pnasnet.py, chenxi116/PNASNet.pytorch genotypes.py",
        "pnasnet",
    ),
    "enas-macro": Published(
        _macro(_ENAS_MACRO), "melodyguan/enas, scripts/cifar10_macro_final.sh, for arXiv 1802.03268", "enas-macro"
    ),
    "enas-micro": Published(
        _cells(
            """avg_pool_3x3 0 | sep_conv_3x3 0 ; skip_connect 0 | sep_conv_5x5 0 ; skip_connect 0 | sep_conv_5x5 1 ;
               sep_conv_3x3 1 | sep_conv_5x5 0 ; avg_pool_3x3 0 | sep_conv_5x5 1""", (2, 3, 4, 5, 6),
            """sep_conv_3x3 1 | sep_conv_3x3 1 ; max_pool_3x3 0 | avg_pool_3x3 0 ; sep_conv_5x5 1 | sep_conv_5x5 3 ;
               sep_conv_3x3 1 | skip_connect 0 ; max_pool_3x3 0 | sep_conv_5x5 1""", (2, 4, 5, 6),
        ),
        "melodyguan/enas, scripts/cifar10_micro_final.sh, for arXiv 1802.03268",
        "enas",
    ),
    "enas-rnn": Published(
        _recurrent(
            """tanh -1 ; tanh 0 ; relu 1 ; relu 2 ; tanh 2 ; tanh 2 ; relu 5 ; tanh 1 ; relu 6 ;
               relu 8 ; relu 8 ; relu 8""",
            (3, 4, 7, 9, 10, 11),
        ),
        "melodyguan/enas, scripts/ptb_final.sh, for arXiv 1802.03268",
        "recurrent",
    ),
    "darts-v1": Published(
        _cells(
            """sep_conv_3x3 1 | sep_conv_3x3 0 ; skip_connect 0 | sep_conv_3x3 1 ; skip_connect 0 | sep_conv_3x3 1 ;
               sep_conv_3x3 0 | skip_connect 2""", (2, 3, 4, 5),
            """max_pool_3x3 0 | max_pool_3x3 1 ; skip_connect 2 | max_pool_3x3 0 ; max_pool_3x3 0 | skip_connect 2 ;
               skip_connect 2 | avg_pool_3x3 0""", (2, 3, 4, 5),
        ),
        f"{_DARTS}, cnn/genotypes.py DARTS_V1 (first order)",
        "darts",
    ),
    "darts-v2": Published(
        _cells(
            """sep_conv_3x3 0 | sep_conv_3x3 1 ; sep_conv_3x3 0 | sep_conv_3x3 1 ; sep_conv_3x3 1 | skip_connect 0 ;
               skip_connect 0 | dil_conv_3x3 2""", (2, 3, 4, 5),
            """max_pool_3x3 0 | max_pool_3x3 1 ; skip_connect 2 | max_pool_3x3 1 ; max_pool_3x3 0 | skip_connect 2 ;
               skip_connect 2 | max_pool_3x3 1""", (2, 3, 4, 5),
        ),
        f"{_DARTS}, cnn/genotypes.py DARTS_V2 (second order)",
        "darts",
    ),
    # DARTS's fixed first state is node 0, written out.
    "darts-rnn-v1": Published(
        _recurrent(
            "tanh -1 ; relu 0 ; relu 1 ; tanh 2 ; relu 3 ; relu 4 ; identity 1 ; relu 5 ; relu 1",
            tuple(range(1, 9)),
        ),
        f"{_DARTS}, rnn/genotypes.py DARTS_V1 (first order)",
        "recurrent",
    ),
    "darts-rnn-v2": Published(
        _recurrent(
            "tanh -1 ; sigmoid 0 ; relu 1 ; relu 1 ; identity 1 ; tanh 2 ; sigmoid 5 ; tanh 3 ; relu 5",
            tuple(range(1, 9)),
        ),
        f"{_DARTS}, rnn/genotypes.py DARTS_V2 (second order)",
        "recurrent",
    ),
})  # fmt: skip

GENOTYPES: Mapping[str, Genotype] = MappingProxyType({name: entry.genotype for name, entry in PUBLISHED.items()})


def get(name: str) -> Published:
    """The published architecture of that name."""
    if name not in PUBLISHED:
        raise UserError(f"published genotype: found {shorten(name)}, allowed: {', '.join(PUBLISHED)}")
    return PUBLISHED[name]
