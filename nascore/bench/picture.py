"""The picture of how cost grows; what measures it draws nothing."""

from nascore.bench.growth import Growth, lines
from nascore.show.chart import MARKERS, Chart, panels, styled


@styled
def chart(found: Growth) -> Chart:
    """Seconds over sizes, both logarithmic: a panel for what grows, a line for a step."""
    figure, columns = panels(len(found), sharey=True)
    for axes, (name, grown) in zip(columns, found.items()):
        for (step, values), marker in zip(grown["seconds"].items(), MARKERS):
            axes.loglog(grown["sizes"], values, marker=marker, label=step)
        axes.set(xlabel=name, ylabel="seconds of a step")
        axes.label_outer()
    columns[0].legend(fontsize=8)
    figure.words = "; ".join(lines(found))
    return figure
