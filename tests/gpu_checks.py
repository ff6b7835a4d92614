"""What has to hold on every device, as functions of one: `test_gpu.py` asks a card, `test_gpu_rehearsal.py` the CPU, at
the same small sizes. Numbers that are compared come back on the CPU in float64."""

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nascore import bilevel, data, published, spaces
from nascore.bilevel import PRODUCTS, architecture_gradient
from nascore.cuda import ieee, is_lost
from nascore.estimators import Estimate, TrainChildren
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.images import Images
from nascore.loop import drive
from nascore.methods.darts import DARTS, DARTSBudget
from nascore.nets import operations
from nascore.nets.convolutional import Network
from nascore.nets.supernet import Supernet, initial_alphas
from nascore.seeding import seeded
from nascore.training import Training, recipe_named

XI = 0.025
WORDS = tuple("0123456789")
BENCH = spaces.get("nasbench201")


def noise(count: int, device: str, side: int = 16) -> Images:
    """As many images of nothing, the same on every device."""
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=drawn)
    labels = torch.arange(count) % 10
    half = (0.5,) * 3
    return Images("noise", pixels, labels, pixels, labels, WORDS, half, half, 2, True).to(device)


def in_float64(tensors) -> Tensor:
    """All numbers of some tensors, one after another."""
    return torch.cat([tensor.detach().cpu().double().flatten() for tensor in tensors])


def distance(found: Tensor, wanted: Tensor) -> float:
    """Relative to what was wanted."""
    return ((found - wanted).norm() / wanted.norm()).item()


# --- the three steps: numbers -----------------------------------------------------------------------------------------


class Problem:
    """A supernet with its two losses, as functions of weights and alphas; drawn in float64 on the CPU."""

    def __init__(self, device: str, dtype: torch.dtype, channels: int = 4, side: int = 16):
        drawn = torch.Generator().manual_seed(0)
        with seeded(0, "problem"):
            net = Supernet(channels=channels, cells=3).double()
        self.net = net.to(device, dtype).to(memory_format=torch.channels_last)
        self.names = [name for name, _ in net.named_parameters()]
        self.weights = [w.detach() for w in net.parameters()]
        self.alphas = [(0.1 * a).to(device, dtype).requires_grad_() for a in initial_alphas(net, drawn)]
        images = torch.randn(2, 8, 3, side, side, dtype=torch.float64, generator=drawn).to(device, dtype)
        labels = torch.randint(10, (2, 8), generator=drawn).to(device)
        self.train, self.valid = (self.loss_on(*batch) for batch in zip(images, labels))

    def logits(self, images, weights, alphas) -> Tensor:
        state = dict(zip(self.names, weights))
        return torch.func.functional_call(self.net, state, (images, alphas))

    def loss_on(self, images, labels):
        def loss(weights, alphas):
            self.last = self.logits(images, weights, alphas)
            return F.cross_entropy(self.last, labels)

        return loss


def steps_of(device: str, dtype: torch.dtype, hessian: str) -> dict[str, Tensor]:
    """Logits, and the gradient that each of the three steps descends."""
    problem = Problem(device, dtype)
    weights = [w.detach().requires_grad_() for w in problem.weights]
    losses = (problem.train, problem.valid, problem.weights, problem.alphas)
    with ieee():
        value = problem.train(weights, [a.detach() for a in problem.alphas])
        logits = problem.last
        found = {
            "logits": [logits],
            "weights": torch.autograd.grad(value, weights),
            "alphas, first order": architecture_gradient(*losses),
            "alphas, second order": architecture_gradient(*losses, XI, PRODUCTS[hessian]),
        }
    return {name: in_float64(tensors) for name, tensors in found.items()}


def distances(device: str, dtype: torch.dtype, hessian: str) -> dict[str, float]:
    """Of each number of `steps_of` from float64 on the CPU."""
    wanted = steps_of("cpu", torch.float64, hessian)
    return {name: distance(found, wanted[name]) for name, found in steps_of(device, dtype, hessian).items()}


@contextmanager
def rounded(how: str, device: str) -> Iterator[None]:
    """Arithmetic of `finite_difference`: ieee, as it is; tf32 or bf16, as it would be without."""
    if how == "ieee":
        yield
        return
    places = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    autocast = torch.autocast(device, torch.bfloat16) if how == "bf16" else nullcontext()
    try:
        for place in places:
            place.fp32_precision = "tf32"
        with autocast, mock.patch.object(bilevel, "ieee", nullcontext):
            yield
    finally:
        for place, precision in zip(places, before):
            place.fp32_precision = precision


def cosines(device: str, channels: int = 8) -> dict[str, float]:
    """Of equation 8's term with float64's on the CPU, along the same v."""
    exact = Problem("cpu", torch.float64, channels)
    weights = [w.detach().requires_grad_() for w in exact.weights]
    v = torch.autograd.grad(exact.valid(weights, [a.detach() for a in exact.alphas]), weights)
    wanted = in_float64(bilevel.finite_difference(exact.train, exact.weights, exact.alphas, v))
    problem = Problem(device, torch.float32, channels)
    direction = [x.to(device, torch.float32) for x in v]
    found = {}
    for how in ("ieee", "tf32", "bf16"):
        with rounded(how, device):
            term = bilevel.finite_difference(problem.train, problem.weights, problem.alphas, direction)
        found[how] = F.cosine_similarity(in_float64(term), wanted, 0).item()
    return found


# --- loops ------------------------------------------------------------------------------------------------------------


def searching(device: str, order: int = 2, hessian: str = "finite-difference", epochs: int = 2) -> DARTS:
    """Four steps an epoch, the last of which has a smaller minibatch."""
    fields = dict(epochs=epochs, batch_size=4, channels=4, cells=3, learning_rate=0.1)
    fields |= dict(order=order, hessian=hessian)
    budget = DARTSBudget(**fields)
    return DARTS(spaces.get("darts"), noise(28, device), budget, 0, torch.device(device))


def training(device: str) -> Training:
    """Four steps an epoch, with all that is drawn at random."""
    with seeded(0, "network"):
        network = Network(published.GENOTYPES["darts-v2"], 4, 3, 10, auxiliary=True)
    fields = dict(epochs=3, batch_size=4, drop_path=0.3, cutout=4)
    return Training(network, noise(14, device), recipe_named("darts-cifar", **fields), 0)


LOOPS = {
    "first order": lambda device: searching(device, 1),
    "second order": searching,
    "exact": lambda device: searching(device, 2, "exact"),
    "training": training,
}


def weights_of(loop) -> Tensor:
    if isinstance(loop, DARTS):
        return in_float64([*loop.weights, *loop.alphas])
    return in_float64(loop.network.state_dict().values())


def after(name: str, device: str, graphs: str, steps: int = 5) -> tuple[Tensor, list[float]]:
    """Weights and losses after five steps, of which the first four are an epoch."""
    loop = LOOPS[name](device)
    loop.graphs = graphs
    with ieee():
        for _ in range(steps):
            loop.step()
    return weights_of(loop), [row["loss"] for row in loop.history]


def resumed(name: str, devices: list[str], folder, graphs: str = "on") -> Tensor:
    """Weights at the end of a run that goes on from one device to the next, two or three steps on each."""
    with ieee():
        for k, device in enumerate(devices):
            loop = LOOPS[name](device)
            last = k == len(devices) - 1
            stop = None if last else lambda loop=loop, k=k: loop.steps >= 3 * (k + 1)
            drive(loop, directory=folder, resume=k > 0, progress=False, graphs=graphs, stop=stop)
    return weights_of(loop)


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """PyTorch raises where the host would wait for the card."""
    if device != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def step_without_waiting(name: str, device: str) -> None:
    """All of a step but the row of a search, which is read; the first step sends what stays."""
    loop = LOOPS[name](device)
    loop.step()
    with no_waiting(device):
        if not isinstance(loop, DARTS):
            loop.step()
            return
        batches = (loop.train_batches[1], loop.valid_batches[1])
        loop.descend_architecture(*batches, 0.0 if loop.budget.order == 1 else XI)
        loop.descend_weights(batches[0])


def crops(device: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """What is cropped, which pixels are cut out, and labels, over an end of an epoch."""
    batches = noise(14, device).batches("train", 4, 0, "here", cutout=6)
    found = []
    for step in range(6):
        inputs, labels = batches[step]
        index = torch.arange(4, device=device) + step
        pixels = batches.crop(index, torch.Generator().manual_seed(step))
        found.append((pixels.cpu(), (inputs == 0).all(1).cpu(), labels.cpu()))
    return found


# --- children ---------------------------------------------------------------------------------------------------------


def children(device: str, workers: int = 1, graphs: str = "on", epochs: int = 1, **how) -> TrainChildren:
    """An estimator on digits, 22 steps an epoch."""
    recipe = recipe_named("child", epochs=epochs, channels=4, cells=3)
    sizes = dict(skeleton="nasbench201", seed=0, device=device, workers=workers, graphs=graphs)
    return TrainChildren(data.load("digits"), recipe, 4, 3, **sizes, **how)


def cells(count: int) -> list[CellGenotype]:
    """No two the same."""
    drawn = random.Random(0)
    found: dict[CellGenotype, None] = {}
    while len(found) < count:
        genotype = BENCH.decode(BENCH.sample(drawn))
        found[genotype] = None
    return list(found)


class Misbehaves(nn.Module):
    """An operation that fails at one of its calls, as `how` says."""

    def __init__(self, how: str, at: int):
        super().__init__()
        self.how = how
        self.at = at
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.at and self.how == "too large":
            x.new_empty(2**50)
        if self.calls == self.at and self.how == "reads":
            x.sum().item()
        if self.calls == self.at and self.how == "sticky":
            if x.device.type != "cuda":
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")
            x.flatten().index_select(0, torch.full((1,), 2**40, device=x.device))
        return x


def misbehaving(how: str, at: int = 1) -> CellGenotype:
    """A cell of one operation that fails as `how` says: at its first call, or at the second, which is recorded."""
    name = f"{how.replace(' ', '_')}_{at}"
    operations.register(name, lambda *sizes: Misbehaves(how, at))
    return one_operation(name)


def one_operation(name: str) -> CellGenotype:
    return CellGenotype(Cell((Node((0,), (name,)),), (1,), n_inputs=1), None)


GOOD = one_operation("nor_conv_3x3")


def reads_of(answers: list[Estimate]) -> list[tuple[float, str | None]]:
    return [(answer.reward, answer.error) for answer in answers]


def lost_in_a_worker(device: str) -> str:
    """What is said where a worker loses the card. Its next children are trained all the same, in others."""
    bad = misbehaving("sticky")
    try:
        children(device, workers=2)([bad, GOOD, one_operation("nor_conv_1x1")])
    except RuntimeError as error:
        assert is_lost(error)
        said = str(error)
    answers = children(device, workers=2)([GOOD, one_operation("nor_conv_1x1")])
    assert [answer.error for answer in answers] == [None, None]
    return said


def held(device: str) -> int:
    """Bytes on the card; on the CPU how many trainings are alive, none of which garbage collection has to find."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.memory_reserved()
    return sum(type(found) is Training for found in gc.get_objects())


def held_after_children(device: str, count: int) -> list[int]:
    """What is held after each of so many children, one of which fails, beside what is held before. (PyTorch's late
    imports keep a process's first optimizer until a collection: that one is trained before.)"""
    children(device)([GOOD])
    gc.collect()
    before = held(device) if device == "cpu" else 0
    estimate = children(device)
    found = []
    collects = gc.isenabled()
    gc.disable()
    try:
        for genotype in [GOOD, misbehaving("too large"), *cells(count - 2)]:
            estimate([genotype])
            found.append(held(device) - before)
    finally:
        if collects:
            gc.enable()
    return found
