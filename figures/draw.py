"""Draw every picture of the README and the course from the real runs in notebooks/runs.

python figures/draw.py
"""

from pathlib import Path

import graphviz
import numpy as np

from nascore import search, spaces
from nascore.estimators import Table
from nascore.genotypes import from_json
from nascore.show import plots
from nascore.show.drawing import FONT, GREY, INPUT, NODE, Drawing, draw, look

FIGURES = Path(__file__).parent
RUNS = FIGURES.parent / "notebooks" / "runs"
IDEA = ("max_pool_3x3", "sep_conv_3x3", "skip_connect")


def idea() -> Drawing:
    """Figure 1 of DARTS in our own drawing: unknown operations, a mixture of all, what is left."""
    graph = graphviz.Digraph(
        graph_attr=FONT | dict(bgcolor="transparent", fontcolor=GREY, nodesep="0.45", ranksep="0.6"),
        node_attr=FONT | dict(shape="box", style="filled", color=GREY, width="0.34", height="0.34"),
        edge_attr=FONT | dict(color=GREY, fontcolor=GREY, arrowsize="0.7"),
    )
    weights = {(0, 1): (0.2, 0.7, 0.1), (0, 2): (0.3, 0.2, 0.5), (1, 2): (0.6, 0.3, 0.1)}
    for stage, title in enumerate(("which operation?", "all, weighted by softmax(alpha)", "the strongest stay")):
        with graph.subgraph(name=f"cluster_{stage}") as panel:
            panel.attr(label=title, color="transparent")
            for state in range(3):
                panel.node(f"{stage}{state}", str(state), fillcolor=NODE if state else INPUT)
            for (i, j), shares in weights.items():
                ends = f"{stage}{i}", f"{stage}{j}"
                if stage == 0:
                    panel.edge(*ends, label="?", style="dotted")
                for k, (name, share) in enumerate(zip(IDEA, shares)):
                    colour = look(name)[0]
                    if stage == 1:
                        panel.edge(*ends, color=colour, penwidth=str(0.4 + 6 * share))
                    if stage == 2 and k == int(np.argmax(shares)):
                        panel.edge(*ends, label=name, color=colour, fontcolor=colour, penwidth="2")
    words = (
        "Three stages of a cell of three states. First each edge is a question mark; then each edge is three parallel "
        "operations, as thick as their softmax weights; then each edge keeps its strongest operation."
    )
    return Drawing(graph.source, words)


def found_cell() -> Drawing:
    """The cell that the README's first command finds."""
    return draw(from_json((RUNS / "digits-search" / "genotype.json").read_text()))


def anytime(seeds: int = 200, queries: int = 300) -> plots.Chart:
    """Random search and regularized evolution on the table: 200-epoch test accuracy of the best cell by validation."""
    table, space = Table(), spaces.get("nasbench201")
    curves = {}
    for name, fields in {"random": {}, "evolution": dict(population_size=10, sample_size=10)}.items():
        method, runs = search.get(name), []
        for seed in range(seeds):
            one = method.build(space, table, method.budget.preset("full", trials=queries, **fields), seed)
            best, tests = -1.0, []
            while not one.done:
                step = one.step()
                if step.reward > best:
                    best, test = step.reward, table.row(step.genotype)["cifar10_test_200ep"]
                tests.append(test)
            runs.append(tests)
        curves[{"random": "random search", "evolution": "regularized evolution"}[name]] = runs
    return plots.anytime(curves, "CIFAR-10 test accuracy, 200 epochs (%)", best=94.3733)


def main() -> None:
    for name, picture in {"darts_idea": idea(), "found_cell": found_cell(), "anytime": anytime()}.items():
        (FIGURES / f"{name}.svg").write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{picture.svg}')


if __name__ == "__main__":
    main()
