"""A space of one's own is looked at before a search begins, and known again by what it means."""

import math
from random import Random

import pytest
from mute import Mute

import nascore
from nascore import registry, spaces
from nascore.errors import UserError
from nascore.files import read_rows
from nascore.search import methods_by_name
from nascore.spaces.examine import examine

BENCH = spaces.get("nasbench201")
METHODS = [name for name, entry in methods_by_name().items() if not entry.one_shot]


def half(genotypes):
    return [0.5 for _ in genotypes]


class Bits:
    """The cells with two kinds of edges; a test spoils one of its methods."""

    levels = (1, 3, 6)

    def choices_at(self, prefix):
        return 2 if len(prefix) < 6 else 0

    def decode(self, decisions):
        return BENCH.decode([3 * d for d in decisions])

    def size(self):
        return 64

    def sample(self, generator: Random):
        return [generator.randrange(2) for _ in range(6)]

    def mutate(self, decisions, generator):
        k = generator.randrange(6)
        return [d ^ (i == k) for i, d in enumerate(decisions)]


def spoiled(method, function):
    return type("Spoiled", (Bits,), {method: function})()


WRONG = [
    (5, "space: found 5, allowed: a name, or an object with choices_at, decode, size, sample (and encode, mutate)"),
    ([1, 2], "space: found [1, 2], allowed: a name, or an object with"),
    (object(), "space: found <object object"),
    ("nowhere", "space: found 'nowhere', allowed: nas-rl, "),
    (spoiled("choices_at", lambda s, p: -1), "space Spoiled: choices_at([]): found -1, allowed: a whole number from 0"),
    (spoiled("choices_at", lambda s, p: None), "space Spoiled: choices_at([]): found None, allowed: a whole number"),
    (spoiled("choices_at", lambda s, p: 2.5), "space Spoiled: choices_at([]): found 2.5, allowed: a whole number"),
    (spoiled("choices_at", lambda s, p: 2), "space Spoiled has no end: choices_at is not 0 after 10,000 decisions"),
    (spoiled("choices_at", lambda s, p: p[9]), "choices_at([]) raised 'IndexError: list index out of range'"),
    (spoiled("decode", lambda s, d: "cell"), "found 'cell', allowed: a genotype"),
    (spoiled("decode", lambda s, d: None), "found None, allowed: a genotype"),
    (spoiled("decode", lambda s, d: 1 / 0), "raised 'ZeroDivisionError: division by zero'"),
    (spoiled("size", lambda s: 0), "space Spoiled: size(): found 0, allowed: a whole number from 1 on"),
    (spoiled("size", lambda s: math.inf), "space Spoiled: size(): found inf, allowed: a whole number"),
    (spoiled("size", lambda s: None), "space Spoiled: size(): found None, allowed: a whole number"),
    (spoiled("sample", lambda s, r: None), "space Spoiled: sample(): found None, allowed: a list of decisions"),
    (spoiled("sample", lambda s, r: "011010"), "space Spoiled: sample(): found '011010', allowed: a list of decisions"),
    (
        spoiled("sample", lambda s, r: [7] * 6),
        "space Spoiled: sample(): found [7, 7, 7, 7, 7, 7], allowed: a list of decisions",
    ),
    (spoiled("choices", 5), "space Spoiled: choices: found 5, allowed: a list of whole numbers from 1 on"),
    (spoiled("choices", [2, 2]), "space Spoiled: choices: found [2, 2], allowed: a list of whole numbers"),
    (spoiled("choices", [2, 1, 2, 2, 2, 2]), "the most options of each decision"),
    (spoiled("choices", lambda s: [2] * 6), "space Spoiled: choices: found <bound method"),
    (spoiled("levels", 5), "space Spoiled: levels: found 5, allowed: a list of whole numbers from 1 on, rising"),
    (spoiled("levels", []), "space Spoiled: levels: found [], allowed: "),
    (spoiled("levels", [3, 1, 6]), "space Spoiled: levels: found [3, 1, 6], allowed: "),
    (spoiled("levels", [1, 3]), "space Spoiled: levels: found [1, 3], allowed: "),
    (spoiled("levels", ["one"]), "space Spoiled: levels: found ['one'], allowed: "),
    (spoiled("levels", lambda s: [1, 3, 6]), "space Spoiled: levels: found <bound method"),
    (spoiled("token_at", 5), "token_at(0) raised \"TypeError: 'int' object is not callable\""),
    (spoiled("token_at", lambda s, p: "op"), "token_at(0): found 'op', allowed: a Token(kind, positions before it)"),
    (spoiled("token_at", lambda s, p: spaces.Token("op", (p,))), "token_at(0): found Token(kind='op', refers_to=(0,))"),
    (spoiled("token_at", lambda s, p: spaces.Token("op", 0)), "allowed: a Token(kind, positions before it)"),
    (spoiled("decode", lambda s, d: Mute.fail()), "space Spoiled: decode([1, 1, 0, 1, 1, 1]) raised 'Mute'"),
    (spoiled("size", lambda s: Mute()), "space Spoiled: size(): found <Mute>, allowed: a whole number from 1 on"),
]


@pytest.mark.parametrize("space, said", WRONG, ids=[said for _, said in WRONG])
def test_what_is_no_space_is_refused_before_anything_is_evaluated(space, said):
    asked = []
    with pytest.raises(UserError) as caught:
        nascore.run("random", space=space, estimate=lambda g: asked.append(g), progress=False)
    assert said in str(caught.value) and "\n" not in str(caught.value) and not asked


@pytest.mark.parametrize("method", METHODS)
def test_a_space_that_goes_wrong_later_is_one_line_in_every_method(method):
    calls = []

    def decode(self, decisions):
        calls.append(decisions)
        return BENCH.decode([3 * d for d in decisions]) if len(calls) < 40 else "cell"

    with pytest.raises(UserError, match="found 'cell', allowed: a genotype"):
        space = spoiled("decode", decode)
        nascore.run(method, space=space, estimate=half, trials=60, children=1, progress=False)


def test_a_sample_that_cannot_give_what_size_says_ends_the_search_in_one_line():
    space = spoiled("sample", lambda s, r: [r.randrange(2)] * 6)
    with pytest.raises(UserError) as caught:
        nascore.run("random", space=space, estimate=half, trials=10, children=1, progress=False)
    said = str(caught.value)
    assert "space Spoiled: sample() gave nothing new in 1,051 draws after 2 different ones, and size() says 64" in said
    assert len(nascore.run("random", space=Bits(), estimate=half, trials=70, progress=False).history) == 70


def test_evolution_wants_a_mutate():
    space = spoiled("mutate", None)
    with pytest.raises(UserError, match="evolution: space Spoiled has no method mutate"):
        nascore.run("evolution", space=space, estimate=half, progress=False)
    assert nascore.run("random", space=space, estimate=half, trials=3, progress=False).finished


# --- what is required, and what follows from it ---------------------------------------------------------------------


class Six(spaces.Space):
    """As `Bits`, by no more than a subclass must say."""

    name, choices, levels = "six", (2, 2, 2, 2, 2, 2), (1, 3, 6)

    def decode(self, decisions):
        return BENCH.decode([3 * d for d in decisions])


@pytest.mark.parametrize("method", METHODS)
def test_a_subclass_has_the_rest_from_its_choices(method):
    result = nascore.run(method, space=Six(), estimate=half, trials=6, progress=False)
    assert result.finished and len(result.history) == 6
    same = type("six", (Bits,), {})()
    assert examine(Six())["meaning"] == examine(same)["meaning"] and Six().size() == 64


def test_an_object_becomes_a_space_in_one_place_and_what_it_lacks_has_the_default():
    assert spaces.of(BENCH) is BENCH
    mine = spaces.of(Bits())
    assert (mine.name, mine.choices, mine.levels) == ("Bits", (2,) * 6, (1, 3, 6))
    assert [token.kind for token in mine.tokens] == [f"position {k}" for k in range(6)]
    assert mine.can_mutate and not spaces.of(spoiled("mutate", None)).can_mutate
    assert not (mine.has_edges or mine.keeps_every_edge or mine.tabulated or mine.primitives or mine.skeleton)
    late = spaces.of(Late("mutate", lambda: None))  # which has whatever the table's space has
    assert late.tabulated and late.keeps_every_edge and late.primitives == BENCH.primitives
    assert late.choices == BENCH.choices and late.token_at(0) == BENCH.token_at(0)


# --- what tells two spaces apart ------------------------------------------------------------------------------------


def test_a_space_is_known_again_and_every_size_and_operation_counts():
    sizes = [dict(), dict(nodes=3), dict(primitives=("none", "skip_connect", "sep_conv_3x3", "conv_1x1"))]
    sizes += [dict(primitives=tuple(reversed(spaces.DARTS_PRIMITIVES)))]
    found = [examine(spaces.get("darts", **size)) for size in sizes]
    assert len({repr(one) for one in found}) == 4
    assert found == [examine(spaces.get("darts", **size)) for size in sizes]
    assert found[2]["operations"] == ["none", "skip_connect", "sep_conv_3x3", "conv_1x1"]
    for name in spaces.SPACES:
        about = examine(spaces.get(name))
        assert about["name"] == name and about["size"] == str(spaces.get(name).size())
    assert examine(Bits()) == examine(Bits()) != examine(spoiled("size", lambda s: 64))  # by its name


def test_a_space_that_means_something_else_is_another_one_whatever_its_size_and_name():
    same = type("Bits", (Bits,), {})
    other = type("Bits", (Bits,), {"decode": lambda self, decisions: BENCH.decode([2 * d for d in decisions])})
    assert examine(same()) == examine(Bits()) and examine(other()) != examine(Bits())


# --- what goes wrong later ------------------------------------------------------------------------------------------


class Late:
    """The space of the table, whose `sample` or `mutate` answers what it should not after a while."""

    def __init__(self, method, answer):
        self.space, self.asked = spaces.get("nasbench201"), 0
        self.method, self.answer = method, answer

    def __getattr__(self, name):
        return getattr(self.space, name)

    def _maybe(self, method, right):
        self.asked += method == self.method
        if method == self.method and self.asked > 4:
            return self.answer()
        return right

    def sample(self, random):
        return self._maybe("sample", self.space.sample(random))

    def mutate(self, decisions, random):
        return self._maybe("mutate", self.space.mutate(decisions, random))


def late_answers():
    yield lambda: None
    yield lambda: "abcdef"
    yield lambda: [-1] * 6
    yield lambda: [0] * 5
    yield lambda: [0] * 7
    yield lambda: [0.5] * 6
    yield lambda: 1 / 0


@pytest.mark.parametrize("method", ["sample", "mutate"])
@pytest.mark.parametrize("answer", list(late_answers()))
def test_what_a_space_answers_later_is_checked_and_the_steps_before_are_kept(tmp_path, method, answer):
    how = dict(
        budget="smoke", trials=12, children=1, progress=False, checkpoint_seconds=1000, directory=tmp_path / "run"
    )
    with pytest.raises(UserError, match=f"^space nasbench201: {method}\\(.*go on with --resume$") as caught:
        strategy = "evolution" if method == "mutate" else "random"
        nascore.run(strategy, space=Late(method, answer), estimate=lambda g: [0.5] * len(g), **how)
    assert str(caught.value).isprintable()
    assert len(read_rows(tmp_path / "run" / "history.jsonl")) >= 2


def test_what_a_method_of_ones_own_proposes_is_checked(tmp_path):
    from nascore import search
    from nascore.trials import MultiTrial, TrialBudget

    answers = {"nothing": lambda: [], "texts": lambda: [["a"]], "a failure": lambda: 1 / 0, "None": lambda: None}
    try:
        for answer in answers.values():

            @search.method("proposes", budget=TrialBudget)
            class Proposes(MultiTrial):
                def propose(self, count, answer=answer):
                    return answer()

            with pytest.raises(UserError, match="Proposes.propose\\(1\\)"):
                nascore.run("proposes", data="nasbench201", budget=TrialBudget(trials=3, children=1), progress=False)
    finally:
        registry._METHODS.pop("proposes", None)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda n: None, "space mine: making it raised .*TypeError"),
        (lambda: 1 / 0, "space mine: making it raised .*ZeroDivisionError"),
        (int, "space: found 0, allowed: a name, or an object with"),
        (lambda: 5, "space: found 5, allowed: a name, or an object with"),
    ],
)
def test_a_space_that_cannot_be_made_is_one_line(make, said):
    spaces.register("mine", make)
    try:
        with pytest.raises(UserError, match=said):
            nascore.run("random", space="mine", estimate=lambda g: [0.5] * len(g), budget="smoke", progress=False)
        with pytest.raises(UserError, match="no levels"):
            nascore.run("pnas", space="darts", budget="smoke", progress=False)
    finally:
        del spaces.SPACES["mine"]


@pytest.mark.parametrize("name", ["enas-macro", "pnas", "nas-rl"])
def test_darts_says_which_spaces_it_takes(name):
    with pytest.raises(
        UserError, match=f"^darts needs a space with primitives on edges: found '{name}', allowed: darts, nasbench201"
    ):
        nascore.run("darts", space=name, budget="smoke", progress=False)
