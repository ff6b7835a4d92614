"""Our modules compose as PyTorch's do: a table of networks and of what one does with a module.

`DepthwiseConv` is held to `nn.Conv2d` with the same weights; the networks to themselves with every depthwise
convolution computed by PyTorch (`is_plain` says no), in plain float32.
"""

import copy
import pickle
from random import Random

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn

from nascore import spaces
from nascore.controllers import Controller
from nascore.genotypes import (
    Cell,
    CellGenotype,
    ChainGenotype,
    ChainLayer,
    MacroGenotype,
    MacroLayer,
    Node,
)
from nascore.nets import depthwise, edges
from nascore.nets.convolutional import Network
from nascore.nets.depthwise import DepthwiseConv
from nascore.nets.shared import shared_network
from nascore.nets.supernet import Supernet, initial_alphas

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
NODES = (Node((0, 1), ("sep_conv_3x3", "dil_conv_5x5")), Node((2, 1), ("max_pool_3x3", "skip_connect")))
CELL = Cell(NODES, (2, 3))
TWO, ONE = CellGenotype(CELL, CELL), CellGenotype(CELL)
CHAIN = ChainGenotype((ChainLayer((3, 3), (1, 1), 4), ChainLayer((3, 1), (1, 1), 4, (1,))))
MACRO = MacroGenotype((MacroLayer("conv_3x3"), MacroLayer("sep_conv_3x3"), MacroLayer("max_pool_3x3", (0, 1))))
BENCH = spaces.get("nasbench201").decode([3, 2, 1, 0, 4, 3])


class With(nn.Module):
    """A supernet and what it takes beside images."""

    def __init__(self, network: nn.Module, argument):
        super().__init__()
        self.network, self.argument = network, argument

    def forward(self, images: Tensor) -> Tensor:
        argument = self.argument
        if isinstance(argument, tuple):
            argument = [alpha.to(next(self.parameters()).dtype) for alpha in argument]
        return self.network(images, argument)


def of(genotype, skeleton, **options):
    return lambda: Network(genotype, 4, 3, 5, skeleton=skeleton, **options)


def relaxed(space, primitives, nodes):
    def make():
        sizes = dict(n_inputs=space.n_inputs, channels=4, cells=3, classes=5, skeleton=space.skeleton)
        network = Supernet(primitives, nodes, **sizes, cell_types=space.cell_types)
        return With(network, initial_alphas(network, torch.Generator().manual_seed(1)))

    return make


def sharing(space):
    return lambda: With(shared_network(space, 4, 3, 5, 3), space.decode(space.sample(Random(0))))


DARTS = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "max_pool_3x3")
MODULES = {
    "depthwise": lambda: DepthwiseConv(3, 3),
    "depthwise, stride 2": lambda: DepthwiseConv(3, 5, stride=2),
    "depthwise, dilation 2": lambda: DepthwiseConv(3, 5, dilation=2),
    "darts": of(TWO, "darts"),
    "darts with auxiliary head": of(TWO, "darts", auxiliary=True),
    "nasnet": of(TWO, "nasnet"),
    "pnasnet": of(ONE, "pnasnet"),
    "enas": of(TWO, "enas", auxiliary=True),
    "enas-macro": of(MACRO, "enas-macro"),
    "nasbench201": of(BENCH, "nasbench201"),
    "nas-rl": of(CHAIN, "nas-rl"),
    "supernet of darts": relaxed(spaces.get("darts"), DARTS, nodes=1),
    "supernet of nasbench201": relaxed(spaces.get("nasbench201"), spaces.NASBENCH201_PRIMITIVES, nodes=3),
    "shared cells": sharing(spaces.get("enas-micro", nodes=2)),
    "shared layers": sharing(spaces.get("enas-macro", layers=3)),
    "shared nasbench201": sharing(spaces.get("nasbench201")),
}


def made(name, training=True, drop_path=0.0):
    torch.manual_seed(0)
    module = MODULES[name]().train(training)
    if hasattr(module, "drop_path"):
        module.drop_path = drop_path
    return module


@pytest.fixture
def by_pytorch(monkeypatch):
    """Every depthwise convolution by PyTorch's own."""

    def use(*_):
        for place in (depthwise, edges):
            monkeypatch.setattr(place, "is_plain", lambda x: False)

    return use


def logits(output) -> Tensor:
    return torch.cat([x.float() for x in output], 1) if isinstance(output, tuple) else output.float()


def output(module, x=IMAGES) -> Tensor:
    return logits(module(x))


def gradients(module, x=IMAGES) -> Tensor:
    """Of the weights that learn, in one vector."""
    module.zero_grad()
    output(module, x).square().sum().backward()
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in module.parameters() if p.requires_grad]
    return torch.cat([g.flatten().float() for g in grads])


def weights(module):
    return {name: p.detach() for name, p in module.named_parameters()}


def called(module, parameters, x=IMAGES):
    return logits(torch.func.functional_call(module, parameters, (x,)))


# --- what one does with a module: what it gives ---------------------------------------------------------------------


def autocast(module):
    with torch.autocast("cpu", torch.bfloat16):
        return gradients(module)


def in_bfloat16(module):
    return gradients(module.bfloat16(), IMAGES.bfloat16())


def in_float16(module):
    return gradients(module.half(), IMAGES.half())


def data_parallel(module):
    return gradients(nn.DataParallel(module))


def copied(module):
    gradients(module)  # as after a step
    return gradients(copy.deepcopy(module))


def pickled(module):
    gradients(module)
    return gradients(pickle.loads(pickle.dumps(module)))


def double_backward(module):
    x = IMAGES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(output(module, x).square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(slope.square().sum(), x)
    return again


def compiled(module):
    torch._dynamo.reset()
    return gradients(torch.compile(module, backend="aot_eager", fullgraph=True))


def exported(module):
    return logits(torch.export.export(module, (IMAGES,)).module()(IMAGES))


def functional_gradient(module):
    grads = torch.func.grad(lambda parameters: called(module, parameters).square().sum())(weights(module))
    return torch.cat([grads[name].flatten() for name, p in module.named_parameters() if p.requires_grad])


def forward_derivative(module):
    return torch.func.jvp(lambda x: output(module, x), (IMAGES,), (IMAGES.flip(0),))[1]


def dual_numbers(module):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(output(module, forward_ad.make_dual(IMAGES, IMAGES.flip(0)))).tangent


def jacobian(module):
    return torch.func.jacrev(lambda x: output(module, x).sum(0).flatten()[:5])(IMAGES)


def one_by_one(module):
    return torch.func.vmap(lambda x: output(module, x[None])[0])(IMAGES)


# PyTorch's batch norm cannot update running averages inside its transforms: there a network is in evaluation.
TRAINING = [autocast, in_bfloat16, in_float16, data_parallel, copied, pickled, double_backward, compiled, exported]
EVALUATION = [functional_gradient, forward_derivative, dual_numbers, jacobian, one_by_one]


def plain_jacobian(module):
    return torch.autograd.functional.jacobian(lambda x: output(module, x).sum(0).flatten()[:5], IMAGES)


def one_after_another(module):
    return torch.cat([output(module, x[None]) for x in IMAGES])


def finite_difference(module):
    """In float64, along the images in reverse."""
    module, x = module.double(), IMAGES.double()
    step = 1e-6 * x.flip(0)
    above, below = (module(x + sign * step) for sign in (1, -1))
    above, below = (torch.cat(y, 1) if isinstance(y, tuple) else y for y in (above, below))
    return ((above - below) / 2e-6).float()


# Without an entry: the plain gradients.
EXPECTED = {way: way for way in (autocast, in_bfloat16, in_float16, double_backward)} | {exported: output}
EXPECTED |= {forward_derivative: finite_difference, dual_numbers: finite_difference}
EXPECTED |= {jacobian: plain_jacobian, one_by_one: one_after_another}


def assert_alike(found: Tensor, expected: Tensor, tolerance: float = 1e-3):
    assert found.shape == expected.shape and found.isfinite().all()
    assert (found - expected).norm() <= tolerance * expected.norm() + 1e-4


@pytest.mark.parametrize("way", TRAINING, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", MODULES)
def test_in_training(name, way, by_pytorch):
    found = way(made(name)).detach()
    by_pytorch()
    expected = EXPECTED.get(way, gradients)(made(name)).detach()
    assert_alike(found, expected, 2e-2 if way in (autocast, in_bfloat16, in_float16) else 1e-3)


@pytest.mark.parametrize("way", EVALUATION, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", MODULES)
def test_under_transforms(name, way, by_pytorch):
    found = way(made(name, training=False)).detach()
    by_pytorch()
    expected = EXPECTED.get(way, gradients)(made(name, training=False)).detach()
    assert_alike(found, expected)


WITH_PATHS = ("darts", "darts with auxiliary head", "nasnet", "pnasnet", "enas", "nasbench201")


@pytest.mark.parametrize("way", [exported, copied, pickled, double_backward], ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", WITH_PATHS)
def test_with_drop_path(name, way):
    """Another draw each time, so that values cannot be compared: it runs, and paths are dropped."""
    found = way(made(name, drop_path=0.3)).detach()
    assert found.isfinite().all()
    if way is exported:
        program = torch.export.export(made(name, drop_path=0.3), (IMAGES,)).module()
        assert not torch.equal(logits(program(IMAGES)), logits(program(IMAGES)))


@pytest.mark.parametrize("way", [copied, pickled], ids=lambda way: way.__name__)
def test_a_network_with_a_generator_for_its_drop_path_is_copied_with_it(way):
    module = made("darts", drop_path=0.3)
    module.generator = torch.Generator().manual_seed(5)
    first = output(module)
    module.generator.manual_seed(5)
    twin = copy.deepcopy(module) if way is copied else pickle.loads(pickle.dumps(module))
    assert torch.equal(output(twin), first)


def test_compiling_with_drop_path_on():
    assert compiled(made("darts with auxiliary head", drop_path=0.3)).isfinite().all()


def test_compiling_with_a_generator_gives_the_same_as_not():
    torch._dynamo.reset()
    found, expected = (made("darts", drop_path=0.3) for _ in range(2))
    for module in (found, expected):
        module.generator = torch.Generator().manual_seed(5)
    run = torch.compile(found, backend="aot_eager")  # a generator is not traced: the graph is in pieces
    torch.testing.assert_close(output(run), output(expected), rtol=1e-4, atol=1e-5)


SHAPES = [(1, 1, 3), (1, 1, 5), (1, 2, 3), (1, 2, 5), (2, 1, 3), (2, 2, 5), (1, 1, 7)]
WAYS = [autocast, in_bfloat16, copied, double_backward, functional_gradient, forward_derivative, dual_numbers, jacobian]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("stride, dilation, kernel", SHAPES)
def test_a_depthwise_convolution_is_pytorchs_in_all_but_how_it_is_computed(way, stride, dilation, kernel):
    ours = DepthwiseConv(3, kernel, stride, dilation)
    theirs = nn.Conv2d(3, 3, kernel, stride, dilation * (kernel // 2), dilation, groups=3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(way(ours), way(theirs), rtol=1e-3, atol=1e-4)


def test_autocast_chooses_the_type_as_for_any_convolution():
    ours = DepthwiseConv(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(IMAGES).dtype == torch.bfloat16
    assert ours(IMAGES).dtype == torch.float32


def test_a_controller_is_copied_and_pickled():
    controller = Controller(spaces.get("darts"))
    decisions = [[0] * 24]
    expected = controller(decisions).log_probs
    for twin in (copy.deepcopy(controller), pickle.loads(pickle.dumps(controller))):
        assert torch.equal(twin(decisions).log_probs, expected)
