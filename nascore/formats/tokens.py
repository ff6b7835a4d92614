"""ENAS's token lists, as its authors' scripts write them."""

from collections.abc import Sequence
from re import findall

from nascore import spaces
from nascore.errors import one_of, require, whole
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
COUNTS = range(1, MAX_NODES + 1)
LENGTHS = {  # of the lists of each kind, with how many nodes or layers each has
    MICRO: {8 * n: n for n in COUNTS},
    MACRO: {n * (n + 1) // 2: n for n in COUNTS},
    RECURRENT: {2 * n - 1: n for n in COUNTS},
}
PREFIXED = "a list of numbers after enas-micro:, enas-macro: or enas-rnn:"


def enas(kind: str | None, text: str) -> Genotype:
    """The architecture of a fixed arc, with or without NumPy's brackets. `kind` may be left out
    where the number of tokens tells it."""
    tokens = [int(token[:9]) for token in findall(r"0*(\d+)", text)]
    found = f"{len(tokens)} numbers"
    closed = text.count("[") == text.count("]")  # else a part of it is missing
    require(closed, "list of numbers", text, "as many [ as ]", GenotypeError)
    if kind is None:
        fits = [name for name, lengths in LENGTHS.items() if len(tokens) in lengths]
        which = f"{found}, which {' and '.join(fits) or 'no kind'} may have"
        require(len(fits) == 1, "genotype", which, PREFIXED, GenotypeError)
        (kind,) = fits
    one_of("kind of a list of numbers", kind, TOKENS, GenotypeError)
    count = LENGTHS[kind].get(len(tokens), 0)
    allowed = f"{TOKENS[kind]}; at most {MAX_NODES} nodes or layers"
    require(count, kind, found, allowed, GenotypeError)
    if kind == RECURRENT:
        return _recurrent(tokens)
    space = spaces.enas_micro if kind == MICRO else spaces.enas_macro
    return space(count).decode(tokens)


def _recurrent(tokens: Sequence[int]) -> Genotype:
    sources = [-1, *tokens[1::2]]
    chosen = [
        whole(f"{RECURRENT}: activation", token, 0, 3, GenotypeError) for token in tokens[::2]
    ]
    activations = [ENAS_ACTIVATIONS[token] for token in chosen]
    ends = set(range(len(sources))) - set(sources)
    return RecurrentGenotype(tuple(zip(sources, activations)), tuple(sorted(ends)))
