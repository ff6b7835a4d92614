"""What a network costs: parameters, multiply-adds, depth, memory. Nothing is computed for that: a
minibatch of no images goes through the network, and of convolutions and linear layers only the
sizes are looked at. Its latency is measured, where that is asked for."""

import json
import os
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial
from json import dumps
from math import prod
from os.path import isfile, join
from statistics import quantiles
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, channels_last, empty, no_grad, randn
from torch import device as Device
from torch.func import functional_call
from torch.nn import Module
from torch.nn.functional import conv2d, linear
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from nascore import formats, published, spaces
from nascore.errors import UserError
from nascore.genotypes import CellGenotype, Genotype, kind
from nascore.loop import memory_errors
from nascore.nets.convolutional import Network
from nascore.nets.sizes import Sizes, home
from nascore.spaces import NASBENCH201_PRIMITIVES
from nascore.threads import fitting, using_threads

Shape = Sequence[int]


def parameters(network: Module) -> int:
    """Weights and biases, an auxiliary head's included where there is one, ENAS's too, which does
    not learn."""
    return sum(p.numel() for p in network.parameters())


def multiply_adds(network: Module, input_shape: Shape) -> int:
    """Multiply-adds of convolutions and linear layers in one forward pass of `input_shape`, without
    auxiliary head."""
    return _walk(network, input_shape).multiply_adds


def depth(network: Module, input_shape: Shape) -> int:
    """Convolutions and linear layers on the longest path from image to logits (a separable
    convolution has four)."""
    return _walk(network, input_shape).depth


def activation_bytes(network: Module, input_shape: Shape) -> int:
    """Peak of the memory that the maps of a forward pass of `input_shape` take at the same time,
    the input's too, in evaluation, without gradients, in float32."""
    return _walk(network, input_shape).peak


def weights_bytes(network: Module) -> int:
    """The size of `model.safetensors`: weights and running statistics, and the header that names
    them."""
    header = {}
    at = 0
    for name, x in sorted(network.state_dict().items(), key=_place_in_file):
        end = at + x.nbytes
        dtype = "I64" if x.dtype == torch.int64 else "F32"
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [at, end]}
        at = end
    text = len(dumps(header, separators=(",", ":")).encode())
    return 8 + -(-text // 8) * 8 + at  # the header's length, it in whole eights, the numbers


def _place_in_file(item: tuple[str, Tensor]) -> tuple[int, str]:
    """The format puts the widest numbers first."""
    name, x = item
    return -x.element_size(), name


class _Walk(TorchFunctionMode):
    """Counts while a minibatch of no images passes. Every tensor remembers how many convolutions
    and linear layers lie on the longest way to it; the memory of an image's maps is taken when they
    are made, and given back when nothing holds them any more."""

    def __init__(self):
        super().__init__()
        self.multiply_adds = 0
        self.depth = 0
        self.held = 0  # bytes
        self.peak = 0

    def hold(self, x: Tensor) -> None:
        size = x.element_size() * prod(x.shape[1:])
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(x, self.release, size)

    def release(self, size: int) -> None:
        self.held -= size

    def __torch_function__(self, function, types, args=(), kwargs=None):
        run = _convolution if function is conv2d else function
        found = run(*args, **kwargs or {})
        if made := _tensors(found):
            read = _tensors((args, kwargs))
            depth = max((getattr(x, "depth", 0) for x in read), default=0)
            if function in (conv2d, linear):
                weight = read[1]  # a number that is put out is a sum over a row of it
                depth += 1
                self.multiply_adds += prod(found.shape[1:]) * weight[0].numel()
            self.depth = max(self.depth, depth)
            for x in made:
                x.depth = depth  # type: ignore[attr-defined]  # ours, which a tensor takes along
                if not x._is_view() and not any(x is y for y in read):
                    self.hold(x)
        return found


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _convolution(
    x: Tensor, weight: Tensor, bias=None, stride=1, padding=0, dilation=1, groups=1
) -> Tensor:
    """Of one channel, repeated: PyTorch would copy a weight that is a stand-in."""
    one = conv2d(x[:, :1], weight[:1, :1], None, stride, padding, dilation)
    return one.repeat(1, len(weight), 1, 1)


@no_grad()
def _walk(network: Module, input_shape: Shape) -> _Walk:
    """Through the network in evaluation. Its weights are stand-ins that take no memory."""
    named = [*network.named_parameters(), *network.named_buffers()]
    state = {name: empty((), dtype=x.dtype).expand(x.shape) for name, x in named}
    count, *rest = input_shape
    training = network.training
    try:
        with _Walk() as walk:
            images = empty(0, *rest)
            functional_call(network.eval(), state, (images,))
    finally:
        network.train(training)
    walk.multiply_adds *= count
    walk.peak *= count
    return walk


# --- how long it takes here -----------------------------------------------------------------------

BATCHES = (1, 64)
WARM_UP, FEWEST, MOST = 3, 6, 200  # passes
SECONDS = 3.0  # after which no further pass of a batch begins, once there are the fewest


@no_grad()
def measure_latency(network: Module, image: Shape, threads: int | None = None) -> list[dict]:
    """Milliseconds of a forward pass on this machine, in evaluation, for each of `BATCHES` images
    of (channels, height, width): the median and the middle half of the `passes` that there is time
    for, by `threads` (default: those that a batch of this size is given)."""
    network = network.eval()
    rows = []
    for batch in BATCHES:
        images = randn(batch, *image).contiguous(memory_format=channels_last)
        count = threads or fitting(network, batch, prod(image[1:]))
        with using_threads(count):
            taken = _timed(partial(network, images))
        low, median, high = quantiles(taken, n=4)
        about = {"batch": batch, "threads": count, "passes": len(taken)}
        rows.append(about | {"median_ms": median, "low_ms": low, "high_ms": high})
    return rows


def _timed(call: Callable[[], object]) -> list[float]:
    """Milliseconds of each call. The first ones, which warm the caches, do not count: a few, but of
    calls so slow that there is no time for that, one."""
    taken: list[float] = []
    began = perf_counter()
    for count in range(MOST):
        start = perf_counter()
        if count >= FEWEST and start - began >= SECONDS:
            break
        call()
        taken.append(1000 * (perf_counter() - start))
    return taken[min(WARM_UP, len(taken) - FEWEST + 1) :]


Costs = dict[str, int]


def costs(genotype: Genotype, skeleton: str) -> Costs:
    """`parameters` and `multiply_adds` of the network of `genotype` at the full size of `skeleton`,
    its home."""
    ops = _edges_of(genotype) if skeleton == "nasbench201" else []
    if not ops:
        return _counted(genotype, skeleton)
    bare = _one_edge("none")
    found = {}
    for name, count in bare.items():
        found[name] = count + sum(_one_edge(op)[name] - count for op in ops)
    return found


def _counted(genotype: Genotype, skeleton: str) -> Costs:
    found = describe(genotype, skeleton=skeleton)
    return {name: found[name] for name in ("parameters", "multiply_adds")}


def _edges_of(genotype: Genotype) -> list[str]:
    """The operations of a cell each of whose edges costs what its operation does, wherever it lies;
    of another none."""
    if not isinstance(genotype, CellGenotype):
        return []
    nodes = genotype.normal.nodes
    ops = [op for node in nodes for op in node.ops]
    plain = {node.combine for node in nodes} == {"add"}
    return ops if plain and set(ops) <= set(NASBENCH201_PRIMITIVES) else []


@cache
def _one_edge(op: str) -> Costs:
    """The costs of NAS-Bench-201's network with `op` on an edge of each cell and `none` on all
    others."""
    first = NASBENCH201_PRIMITIVES.index(op)
    genotype = spaces.get("nasbench201").decode([first, 0, 0, 0, 0, 0])
    return _counted(genotype, "nasbench201")


def _of_model(name: formats.Source) -> Sizes | None:
    """The sizes of the model that is meant by its folder, or by its model.json; None where it is no
    model."""
    if isinstance(name, Genotype) or name in published.GENOTYPES:
        return None
    file = join(os.fspath(name).removesuffix("model.json"), "model.json")
    if not isfile(file):
        return None
    try:
        with open(file, encoding="utf-8") as text:
            about = json.load(text)
        image = about["image"]
        (side,) = {image["height"], image["width"]}
        return Sizes(**about["network"], input=side)
    except (KeyError, TypeError, ValueError):
        says = "the sizes of its network, and the sides of a square image"
        raise UserError(f"{file}: found something else, allowed: {says}") from None


def describe(
    genotype: formats.Source,
    network: str | None = None,
    skeleton: str | None = None,
    *,
    latency: bool = False,
    **sizes: Any,
) -> dict[str, Any]:
    """Sizes of the network of a genotype (whatever `formats.read` takes), as `nascore describe
    --json` prints them.

    `network` (a key of `NETWORKS`) sets all sizes at once, else a model's own do, else the
    genotype's home; `sizes` (stem, channels, cells, classes, input, in_channels, auxiliary) that
    are not None override it. `activation_bytes` is of one image. With `latency` the network is
    built and run here."""
    value = formats.read(genotype)
    of = home(genotype, skeleton, _of_model(genotype) if network is None else network, **sizes)
    with Device("meta"):
        built = Network.of(value, of)
    known = of.open()
    side = known.pop("input")
    shape = (1, of.in_channels, side, side)
    built.check(shape)
    walk = _walk(built, shape)
    found = {
        "kind": kind(value),
        **known,
        "input": side,
        "parameters": parameters(built),
        "multiply_adds": walk.multiply_adds,
        "depth": walk.depth,
        "weights_bytes": weights_bytes(built),
        "activation_bytes": walk.peak,
    }
    if latency:
        with memory_errors("--channels, --cells or --input"):
            found["latency"] = measure_latency(Network.of(value, of), shape[1:])
    return found
