"""ENAS's token lists, as its authors' scripts write them."""

from collections.abc import Sequence
from math import comb, isqrt
from re import findall

from nascore import spaces
from nascore.errors import UserError, one_of, require, whole
from nascore.genotypes import MAX_NODES, Genotype, GenotypeError, RecurrentGenotype

ENAS_ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")
MICRO = "enas-micro"
MACRO = "enas-macro"
RECURRENT = "enas-rnn"
TOKENS = {  # of each kind, in their order
    MICRO: "8 for each node, the normal cell's first",
    MACRO: "an operation for each layer, and a bit for each layer before it",
    RECURRENT: "an activation, then two for each further node",
}
PREFIXED = "a list of numbers after enas-micro:, enas-macro: or enas-rnn:"


def enas(kind: str | None, text: str) -> Genotype:
    """The architecture of a fixed arc, with or without NumPy's brackets. `kind` may be left out
    where the number of tokens tells it."""
    tokens = [min(int(token[:9]), MAX_NODES) for token in findall(r"0*(\d+)", text)]
    found = f"{len(tokens)} numbers"
    closed = text.count("[") == text.count("]")  # else a part of it is missing
    require(closed, "list of numbers", text, "as many [ as ]", GenotypeError)
    if kind is None:
        fits = [name for name in TOKENS if _count(name, len(tokens))]
        which = f"{found}, which {' and '.join(fits) or 'no kind'} may have"
        require(len(fits) == 1, "genotype", which, PREFIXED, GenotypeError)
        (kind,) = fits
    one_of("kind of a list of numbers", kind, TOKENS, GenotypeError)
    count = _count(kind, len(tokens))
    require(count, kind, found, TOKENS[kind], GenotypeError)
    require(count <= MAX_NODES, kind, found, f"at most {MAX_NODES} nodes or layers", GenotypeError)
    if kind == RECURRENT:
        return _recurrent(tokens)
    space = spaces.enas_micro(count) if kind == MICRO else spaces.enas_macro(count)
    try:
        return space.decode(tokens)
    except UserError as error:
        raise GenotypeError(str(error)) from None


def _count(kind: str, length: int) -> int:
    """How many nodes or layers a list of so many tokens has; 0 if it cannot be one of that kind."""
    if kind == MICRO:
        return 0 if length % 8 else length // 8
    if kind == RECURRENT:
        return (length + 1) // 2 if length % 2 else 0
    layers = (isqrt(8 * length + 1) - 1) // 2
    return layers if comb(layers + 1, 2) == length else 0


def _recurrent(tokens: Sequence[int]) -> Genotype:
    sources = [-1, *tokens[1::2]]
    nodes = []
    for i, (source, activation) in enumerate(zip(sources, tokens[::2])):
        field = f"{RECURRENT}: node {i}"
        if i:
            whole(f"{field}, earlier node", source, 0, i - 1, GenotypeError)
        whole(f"{field}, activation", activation, 0, 3, GenotypeError)
        nodes.append((source, ENAS_ACTIVATIONS[activation]))
    ends = [i for i in range(len(nodes)) if i not in sources]
    return RecurrentGenotype(tuple(nodes), tuple(ends))
