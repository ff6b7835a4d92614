"""Notebook 07: what few test images can and cannot tell, and the plain network beside which a cell is put."""

from collections.abc import Callable, Mapping
from math import sqrt

import ipywidgets
import numpy as np
from PIL import Image
from scipy.stats import norm
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from nascore.show.chart import COLOURS, GREY, MARKERS, Chart, panels, styled

SIZES = (50, 100, 120, 200, 360, 500, 1_000, 2_000, 5_000, 10_000)  # test images


def small_resnet(width: int, classes: int, channels: int = 3) -> ResNet:
    """torchvision's ResNet with a stem for small images and three stages of one block: `width`, twice, four times as
    wide."""
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    net.conv1, net.bn1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
    net.maxpool, net.inplanes = nn.Identity(), width
    for k in range(3):
        setattr(net, f"layer{k + 1}", net._make_layer(BasicBlock, width * 2**k, 1, stride=1 + (k > 0)))
    net.layer4, net.fc = nn.Identity(), nn.Linear(4 * width, classes)
    return net


@styled
def told_apart(n: int, gap: float, disagree: float = 0.17) -> Chart:
    """What difference `n` test images show between two networks, by equation 2: where both are equally good, and where
    one is better by `gap` (0.03: 3 points). On a share of the images, `disagree`, exactly one of them is right."""
    chart, (axes,) = panels(1, 3.0, 7.5)
    equal, better = sqrt(disagree / n), sqrt(max(disagree - gap**2, 0) / n)
    seen = norm.sf((1.96 * equal - gap) / better)
    x = np.linspace(-0.15, 0.15, 601)
    for middle, error, colour, name in ((0.0, equal, GREY, "equal"), (gap, better, COLOURS[0], "A is better")):
        density = norm.pdf(x, middle, error) / norm.pdf(0, 0, error)
        axes.plot(100 * x, density, color=colour, linestyle="-" if middle else "--", label=name)
        if middle:
            beyond = x > 1.96 * equal
            axes.fill_between(100 * x[beyond], density[beyond], color=colour, alpha=0.35, linewidth=0)
    axes.axvline(196 * equal, color=COLOURS[1], linestyle=":", label="beyond: 1 in 40 by chance")
    axes.set(xlabel="difference of the accuracies that is seen (points)", yticks=[], ylim=(0, 1.25))
    axes.set_title(f"{n:,} images, {100 * gap:g} points: seen in {seen:.0%} of experiments")
    axes.legend(loc="upper left", fontsize=9)
    chart.words = (
        f"On {n:,} images a difference of {100 * gap:g} points has a standard error of {100 * better:.2f} by (2), "
        f"where exactly one is right on {disagree:.0%} of them; seen in {seen:.0%} of experiments."
    )
    return chart


def how_many_images() -> ipywidgets.VBox:
    """`told_apart` under two sliders."""
    n = ipywidgets.SelectionSlider(options=[(f"{size:,}", size) for size in SIZES], value=120, description="images")
    gap = ipywidgets.FloatSlider(value=3, min=0.5, max=10, step=0.5, description="points", continuous_update=False)
    view = ipywidgets.HTML()

    def show(_: object = None) -> None:
        view.value = told_apart(n.value, gap.value / 100).svg

    for slider in (n, gap):
        slider.observe(show, "value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([n, gap]), view])


@styled
def beside(right: Mapping[str, np.ndarray], weights: Mapping[str, int], chance: Callable[..., float]) -> Chart:
    """Each network's accuracy with its standard error, best first, and how it compares with the found one: on how many
    images only that one and only this one is right, and equation 3's probability."""
    order = sorted(right, key=lambda name: -right[name].mean())
    chart, (axes,) = panels(1, 0.9 + 0.3 * len(order), 8.0)
    found = right["found"]
    words = []
    for row, name in enumerate(order):
        its = right[name]
        accuracy, error = 100 * its.mean(), 100 * sqrt(its.mean() * (1 - its.mean()) / len(its))
        k = ("random", "found", "ResNet").index(name.split()[0])
        axes.errorbar(accuracy, row, xerr=error, marker=MARKERS[k], color=COLOURS[k], linestyle="", capsize=3)
        said = f"{accuracy:.1f} ± {error:.1f} %, {weights[name]:,} weights"
        if name != "found":
            only, others = int((found & ~its).sum()), int((its & ~found).sum())
            note = f"{only} : {others},  P = {chance(found, its):.3f}"
            axes.annotate(note, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
            said += f", only found {only}, only it {others}, P = {chance(found, its):.3f}"
        words.append(f"{name}: {said}")
    axes.set_yticks(range(len(order)), [f"{name}  ({weights[name]:,} weights)" for name in order], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy (%) ± SE by (1)")
    axes.set_title("only found : only it,  P by (3)", loc="right", fontsize=9, color=GREY)
    chart.words = f"{'; '.join(words)}."
    return chart


@styled
def at_full_size(groups: Mapping[str, list[tuple[float, int]]], label: str) -> Chart:
    """Every network's accuracy and number of weights, a row for each kind: all of them as points, with their mean and
    standard deviation; beside it against the number of weights."""
    chart, (rows, sizes) = panels(2, 3.6, width_ratios=[1, 1.1])
    words = []
    for k, (name, found) in enumerate(groups.items()):
        accuracies, weights = np.array(found).T
        look = {"marker": MARKERS[k % 6], "color": COLOURS[k % 6]}
        mean, spread = accuracies.mean(), accuracies.std(ddof=1)
        rows.plot(accuracies, np.full(len(accuracies), k - 0.18), linestyle="", alpha=0.6, markersize=5, **look)
        rows.errorbar(mean, k + 0.18, xerr=spread, linestyle="", capsize=4, **look)
        sizes.plot(weights / 1000, accuracies, linestyle="-" if name == "resnet" else "", label=name, **look)
        words.append(
            f"{name}: {len(found)} networks, {mean:.2f} ± {spread:.2f} %, {accuracies.min():.2f} to "
            f"{accuracies.max():.2f}, with {weights.min() / 1000:.1f} to {weights.max() / 1000:.1f} thousand weights"
        )
    rows.set_yticks(range(len(groups)), [f"{name} ({len(found)})" for name, found in groups.items()])
    rows.invert_yaxis()
    rows.set_xlabel("accuracy (%): each, and mean ± deviation")
    sizes.set(xlabel="weights (thousands)")
    sizes.legend(fontsize=8, loc="lower right")
    chart.suptitle(label, fontsize=11, color=GREY)
    chart.words = f"{label}. {'; '.join(words)}."
    return chart


@styled
def gallery(pictures: Mapping[str, Image.Image]) -> Chart:
    """A picture of each class, in a row."""
    chart = Chart(figsize=(1.5 * len(pictures), 1.8), layout="constrained")
    for axes, (name, picture) in zip(chart.subplots(1, len(pictures)), pictures.items()):
        axes.imshow(picture, interpolation="none")
        axes.set_title(name, fontsize=10)
        axes.axis("off")
    chart.words = f"A picture of each class: {', '.join(pictures)}."
    return chart
