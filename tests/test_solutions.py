"""Every folded solution of the notebooks is run, and its exercise must call it right.

For authors:

1. A *placeholder* is a line of an exercise's cell at its left margin, `NAME = None` (or `NAME = (None, None)`,
   `[None] * 5`), or a function `def NAME(...)` whose body is `return None`. Its checker stands in the same cell. As
   delivered the cell says "not done yet" (printed, or in the words of the Chart that is its last expression).
2. The *solution* is a fenced block of Python inside `<details>`, in any Markdown cell of the same exercise, whose first
   line is `NAME = ...` or `def NAME(...):`. It takes the place of the placeholder; then a line of what the cell says
   must begin with "Right":

       <details><summary>Solution</summary>

       ```python
       def penalty(q, target=0.4):
           return enas.skip_prior(torch.sigmoid(2 * q), target).sum()
       ```

       Then the words.

       </details>

   The name may also be one that the exercise's cell gives a number, as in `sample_size = 10`: "change a number". Then
   the cell has to run with the block in its place, and need not say "right".
3. A fenced block of Python in `<details>` that begins with anything else is run by itself, as if it were a cell below
   the last one before it, and must not raise. It may hold `assert`s.
4. A line `# prints TEXT` in a block: TEXT must stand in what is said. `# takes 40 seconds` or `# takes 3 minutes` as
   the first line (the reader wants to know too): above 10 seconds the block runs only with `pytest -m long`. Such lines
   do not count as the first line of rule 2.
5. Before the block only those cells run whose names it needs, and the cells that these need, from the last that binds
   each (`x[0] = ...` and `x.y = ...` count, `x.append(...)` does not): so an exercise should need little that is slow,
   and bind its own random generator. All of it together should take less than 60 seconds.
"""

import ast
import contextlib
import io
import json
import re
import symtable
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
DETAILS = re.compile(r"<details>.*?</details>", re.DOTALL)
FENCED = re.compile(r"^```python *\n(.*?)^```", re.DOTALL | re.MULTILINE)
TAKES = re.compile(r"# takes (?:about )?(\d+) (second|minute)s?\n")
PRINTS = re.compile(r"# prints (.+)")
RIGHT = re.compile(r"^right\b", re.MULTILINE | re.IGNORECASE)
LONG = 10  # seconds
COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}  # scopes that run at once
Node = ast.Assign | ast.FunctionDef


@dataclass
class Solution:
    notebook: str
    cell: int  # the Markdown cell that it stands in
    text: str

    @property
    def seconds(self) -> int:
        """What it says that it takes."""
        if not (said := TAKES.match(self.text)):
            return 0
        return int(said[1]) * {"second": 1, "minute": 60}[said[2]]


def read(notebook: str) -> list[tuple[str, str]]:
    """Its cells: (kind, source)."""
    cells = json.loads(NOTEBOOKS[notebook].read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def solutions(notebook: str) -> list[Solution]:
    found = []
    for k, (kind, text) in enumerate(read(notebook)):
        if kind == "markdown":
            blocks = [block for folded in DETAILS.findall(text) for block in FENCED.findall(folded)]
            found += [Solution(notebook, k, block) for block in blocks]
    return found


def top_level(code: str) -> dict[str, Node]:
    """The statements at the left margin that give one name a value, or define a function: the first of each."""
    found: dict[str, Node] = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, node)
    return found


def placeholders(code: str) -> list[str]:
    """The names in an exercise's cell that wait for an answer."""
    names = []
    for name, node in top_level(code).items():
        value = node.value if isinstance(node, ast.Assign) else node.body[-1]
        if isinstance(value, ast.Return):
            empty = isinstance(value.value, ast.Constant) and value.value.value is None
            empty = empty and len(node.body) == 1 + (ast.get_docstring(node) is not None)
        else:
            constants = [part.value for part in ast.walk(value) if isinstance(part, ast.Constant)]
            called = any(isinstance(part, ast.Call | ast.Name) for part in ast.walk(value))
            empty = None in constants and not called
        if empty:
            names.append(name)
    return names


def replaced(code: str, name: str, block: str) -> str:
    """An exercise's cell with the block in the place of the statement that gives `name` its value."""
    lines = code.splitlines()
    node = top_level(code)[name]
    return "\n".join([*lines[: node.lineno - 1], block.rstrip(), *lines[node.end_lineno :]])


def names_of(code: str) -> tuple[set[str], set[str], set[str]]:
    """What a cell binds, what it changes in place, and what it needs of other cells: what it reads before it binds it
    itself."""
    binds: set[str] = set()
    changes: set[str] = set()
    needs: set[str] = set()
    later: set[str] = set()  # read in functions and classes, which are called when the cell has bound all its names
    for statement in ast.parse(code).body:
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        before = set(binds)
        symbols = table.get_symbols()
        needs |= {symbol.get_name() for symbol in symbols if symbol.is_referenced()} - binds
        binds |= {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
        scopes = [(scope, scope.get_name() in COMPREHENSIONS) for scope in table.get_children()]
        while scopes:
            scope, at_once = scopes.pop()
            read = {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
            needs |= read - before if at_once else set()
            later |= read
            scopes += [(inner, at_once and inner.get_name() in COMPREHENSIONS) for inner in scope.get_children()]
        for node in ast.walk(statement):
            if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
                while isinstance(node, ast.Subscript | ast.Attribute):
                    node = node.value
                changes |= {node.id} if isinstance(node, ast.Name) else set()
    return binds, changes, needs | (later - binds)


def needed(cells: list[tuple[str, str]], before: int, code: str) -> list[str]:
    """The code cells above `before` that `code` cannot do without, in their order."""
    chosen = []
    wanted = names_of(code)[2]
    for kind, text in reversed(cells[:before]):
        if kind != "code":
            continue
        binds, changes, needs = names_of(text)
        if wanted & (binds | changes):
            chosen.append(text)
            wanted = (wanted - binds) | needs
    return chosen[::-1]


def run(code: str, names: dict) -> str:
    """Run a cell. Returns what it says: what it prints, and its last expression's words."""
    *body, last = ast.parse(code).body
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(repr(value))
        else:
            exec(compile(code, "cell", "exec"), names)
    return said.getvalue()


def exercise_of(solution: Solution) -> tuple[int, str] | None:
    """The code cell whose name the solution gives a value (the nearest, the next before the last), and that name."""
    name = next(iter(top_level(solution.text)), None)
    first = ast.parse(solution.text).body[0]
    if name is None or top_level(solution.text)[name].lineno != first.lineno:
        return None
    cells = read(solution.notebook)
    having = [k for k, (kind, text) in enumerate(cells) if kind == "code" and name in top_level(text)]
    waiting = [k for k in having if name in placeholders(cells[k][1])]
    near = [k for k in having if abs(k - solution.cell) == 1]
    chosen = waiting or near
    return (chosen[0], name) if chosen else None


def parameters() -> list:
    every = []
    for notebook in NOTEBOOKS:
        for number, solution in enumerate(solutions(notebook), 1):
            marks = [pytest.mark.long] if solution.seconds > LONG else []
            every.append(pytest.param(solution, marks=marks, id=f"{notebook}-{number}"))
    return every


@pytest.mark.parametrize("solution", parameters())
def test_a_folded_solution_is_right(solution, monkeypatch, open_table):
    monkeypatch.chdir(FOLDER)
    cells = read(solution.notebook)
    exercise = exercise_of(solution)
    names: dict = {"__name__": "__main__", "display": lambda *shown: print(*map(repr, shown), sep="\n")}
    if exercise is None:
        for code in needed(cells, solution.cell, solution.text):
            run(code, names)
        said = run(solution.text, names)
    else:
        place, name = exercise
        delivered = cells[place][1]
        solved = replaced(delivered, name, solution.text)
        for code in needed(cells, place, f"{delivered}\n{solved}"):
            run(code, names)
        said = run(solved, dict(names))
        if name in placeholders(delivered):
            assert RIGHT.search(said), said
            assert not RIGHT.search(as_delivered := run(delivered, dict(names))) and "not done yet" in as_delivered
    for text in PRINTS.findall(solution.text):
        assert text.strip() in said, said


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_placeholder_has_its_solution(notebook):
    waiting = {(k, name) for k, (kind, code) in enumerate(read(notebook)) if kind == "code" for name in _waiting(code)}
    solved = {exercise_of(solution) for solution in solutions(notebook)}
    assert waiting, "a notebook has at least one line to fill in"
    assert waiting <= solved


def _waiting(code: str) -> list[str]:
    return placeholders(code) if "not done yet" in code or "checks" in code else []


def test_a_cell_runs_with_what_it_needs_and_nothing_else():
    cells = [("code", "a = 1"), ("code", "b = a + 1"), ("code", "slow = [b for b in range(3)]"), ("markdown", "words")]
    cells += [("code", "d = {}"), ("code", "d['b'] = b"), ("code", "a = 5")]
    assert needed(cells, 7, "def f(a):\n    return d, a") == ["a = 1", "b = a + 1", "d = {}", "d['b'] = b"]
    assert needed(cells, 7, "print(a)") == ["a = 5"]
    assert needed(cells, 7, "def f():\n    return a\n\n\na = 2\na += 1\nf()") == []
    assert needed(cells, 7, "a = a + 1") == ["a = 5"]
    assert needed(cells, 7, "a = [a + k for k in range(3)]") == ["a = 5"]


def test_placeholders_are_those_that_wait():
    code = "a = None\nb = (None, None)\nc = dict(x=None)\nd = 3\n"
    code += "def e(x):\n    return None\n\n\ndef f():\n    return 1\n"
    assert placeholders(code) == ["a", "b", "e"]
    assert replaced(code, "e", "def e(x):\n    return x\n").count("return x") == 1
    assert run(replaced("a = None  # yours\na", "a", "a = 7"), {}) == "7\n"
