"""Scores without training: what a network may be worth, from its first weights and a minibatch.

    grad_norm, snip   gradients of the loss: their norms, and weights times gradients (Lee, Ajanthan
                      and Torr, ICLR 2019)
    naswot            how differently images switch the ReLUs (Mellor, Turner, Storkey and Crowley,
                      ICML 2021)
    jacob_cov         how alike the slopes at different images are (the same authors' first version)
    synflow           weights times gradients of a network of their sizes alone (Tanaka, Kunin,
                      Yamins and Ganguli, NeurIPS 2020), summed
    parameters, multiply_adds

As Abdelfattah, Mehrotra, Dudziak and Lane (ICLR 2021) use them. They rank; their size says nothing.
"""

from collections.abc import Callable, Sequence
from math import asinh, atan, nan, pi
from typing import Any

import torch
from torch import Tensor, no_grad
from torch import device as Device
from torch.autograd import grad
from torch.func import functional_call
from torch.linalg import eigvalsh, slogdet
from torch.nn import Conv2d, Linear, Module
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nascore.answers import Estimate
from nascore.errors import one_of
from nascore.genotypes import Genotype, canonical
from nascore.nets.convolutional import Network
from nascore.nets.measure import multiply_adds, parameters
from nascore.nets.sizes import Sizes
from nascore.seeding import seeded
from nascore.task import Task

Scores = dict[str, float]
GRADIENTS = ("grad_norm", "snip", "naswot", "jacob_cov")


def reached(network: Module) -> dict[str, Tensor]:
    """The weights that are scored: of convolutions and linear layers."""
    layers = network.named_modules()
    return {f"{name}.weight": m.weight for name, m in layers if isinstance(m, Conv2d | Linear)}


def of_gradients(network: Module, images: Tensor, labels: Tensor) -> Scores:
    """What a minibatch (B, C, H, W) says, in a pass forward and two back."""
    images = images.clone().requires_grad_()
    with _Switches() as switches:
        logits = network(images)
    (slopes,) = grad(logits.sum(), images, retain_graph=True, materialize_grads=True)
    weights = list(reached(network).values())
    gradients = grad(F.cross_entropy(logits, labels), weights, materialize_grads=True)
    with no_grad():
        return {
            "grad_norm": sum(g.norm().item() for g in gradients),
            "snip": sum((w * g).abs().sum().item() for w, g in zip(weights, gradients)),
            "naswot": slogdet(switches.alike).logabsdet.item(),
            "jacob_cov": _correlation(slopes.flatten(1)),
        }


def _correlation(slopes: Tensor) -> float:
    """-sum log(v + k) + 1 / (v + k) over the eigenvalues of the correlations between images."""
    alike = torch.corrcoef(slopes.double())
    if not alike.isfinite().all():  # an output that no image moves
        return nan
    values = eigvalsh(alike) + 1e-5
    return -(values.log() + 1 / values).sum().item()


class _Switches(TorchFunctionMode):
    """In how many ReLUs any two images are both on, or both off: (B, B)."""

    alike: Any = 0.0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **kwargs or {})
        if function in (F.relu, torch.relu, Tensor.relu):
            on = (found.detach() > 0).flatten(1).float()
            off = 1 - on
            self.alike = self.alike + on @ on.T + off @ off.T
        return found


def of_sizes(network: Module, images: Tensor, labels: Tensor) -> Scores:
    """SynFlow: the image is one everywhere, weights are their sizes, there is no batch norm."""
    state = {name: p.detach().abs().double() for name, p in network.named_parameters()}
    weights = {name: state[name].requires_grad_() for name in reached(network)}
    image = torch.ones_like(images[:1], dtype=torch.double)
    with _WithoutNorm():
        total = functional_call(network, state, (image,)).sum()
    gradients = grad(total, list(weights.values()), materialize_grads=True)
    flows = [(w * g).detach().abs().sum() for w, g in zip(weights.values(), gradients)]
    return {"synflow": sum(flow.item() for flow in flows)}


class _WithoutNorm(TorchFunctionMode):
    """Batch norm does nothing."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return args[0] if function is F.batch_norm else function(*args, **kwargs or {})


def of_counts(network: Module, images: Tensor, labels: Tensor) -> Scores:
    """How large it is."""
    counted = multiply_adds(network, images[:1].shape)
    return {"parameters": parameters(network), "multiply_adds": counted}


Measure = Callable[[Module, Tensor, Tensor], Scores]
SCORES: dict[str, Measure] = dict.fromkeys(GRADIENTS, of_gradients)
SCORES |= {"synflow": of_sizes, "parameters": of_counts, "multiply_adds": of_counts}


class ZeroCost:
    """An estimator that trains nothing: the reward says where `score` of a genotype's network lies
    between 0 and 1, of which only the order means something; `details` has the score itself, and
    those that came with it. The network is of `channels` and `cells` (the defaults are
    NAS-Bench-201's own), the minibatch the first `batch_size` training images of `task`."""

    def __init__(
        self,
        task: Task,
        score: str = "naswot",
        channels: int = 16,
        cells: int = 17,
        skeleton: str = "nasbench201",
        seed: int = 0,
        device: Device | str = "cpu",
        batch_size: int = 64,
    ):
        self.measure = SCORES[one_of("score", score, SCORES)]
        self.score = score
        self.seed = seed
        self.device = device
        self.batch = task.to(device).batches("train", batch_size, seed)[0]
        self.sizes = Sizes(
            skeleton=skeleton,
            channels=channels,
            cells=cells,
            classes=task.outputs,
            in_channels=task.channels,
        )
        self.name = f"{score} {self.sizes} {batch_size} {seed} {task.fingerprint()}"

    def scores(self, genotype: Genotype) -> Scores:
        """The score, and those of the same passes."""
        with seeded(self.seed, "child"):
            network = Network.of(canonical(genotype), self.sizes).to(self.device)
        return self.measure(network, *self.batch)

    def __call__(self, genotypes: Sequence[Genotype]) -> list[Estimate]:
        return [self._estimate(self.scores(genotype)) for genotype in genotypes]

    def _estimate(self, scores: Scores) -> Estimate:
        return Estimate(0.5 + atan(asinh(scores[self.score])) / pi, details=scores)
