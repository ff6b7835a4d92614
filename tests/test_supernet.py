"""The supernet is exactly the naive sum over edges and operations, to second order, and has the reference's sizes."""

import pytest
import torch
import torch.nn.functional as F
from naive_supernet import naive_forward
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import nascore
from nascore import genotypes, spaces
from nascore.errors import UserError
from nascore.nets import operations
from nascore.nets.edges import MixedEdges, PlainEdges
from nascore.nets.supernet import Supernet, initial_alphas
from nascore.spaces import DARTS_PRIMITIVES, NASBENCH201_PRIMITIVES

DARTS = dict(primitives=DARTS_PRIMITIVES, nodes=4, n_inputs=2, skeleton="darts")
SMOOTH = DARTS | dict(primitives=[name for name in DARTS_PRIMITIVES if name != "max_pool_3x3"], activation=F.softplus)
NASBENCH201 = dict(primitives=NASBENCH201_PRIMITIVES, nodes=3, n_inputs=1, skeleton="nasbench201")
CASES = {
    "darts": (DARTS, 4, 6, 3, 16),
    "darts, three cells, one input channel": (DARTS, 2, 3, 1, 8),
    "darts, maps of 12, 6 and 3": (DARTS, 2, 3, 3, 12),
    "darts, three nodes": (DARTS | dict(nodes=3), 4, 4, 1, 16),
    "smooth": (SMOOTH, 4, 3, 3, 16),
    "a subset": (DARTS | dict(primitives=("sep_conv_5x5", "skip_connect", "dil_conv_5x5")), 4, 3, 3, 16),
    "only pools": (DARTS | dict(primitives=("max_pool_3x3", "none")), 4, 3, 3, 8),
    "nasbench201": (NASBENCH201, 4, 6, 3, 16),
    "nasbench201, five cells, one input channel": (NASBENCH201, 3, 5, 1, 8),
}  # space, channels, cells, input channels, image size


def problem(case, seed=0):
    """A float64 supernet with N(0, 1) alphas, a batch, and the naive version as a function of (weights, alphas)."""
    space, channels, cells, inputs, size = CASES[case]
    torch.manual_seed(seed)
    types = ("normal", "reduce") if space["skeleton"] == "darts" else ("normal",)
    net = Supernet(**space, channels=channels, cells=cells, in_channels=inputs, cell_types=types).double()
    net.to(memory_format=torch.channels_last)
    images, labels = torch.randn(3, inputs, size, size, dtype=torch.double), torch.randint(10, (3,))
    alphas = tuple(a.double().requires_grad_() for a in initial_alphas(net))

    def ours(weights, alphas):
        return functional_call(net, weights, (images, alphas))

    def naive(weights, alphas):
        return naive_forward(weights, images, alphas, **space, channels=channels, cells=cells)

    return dict(net.named_parameters()), alphas, labels, ours, naive


def close(ours, naive, relative=1e-9):
    for a, b in zip(ours, naive, strict=True):
        assert (a - b).abs().max() <= relative * max(1.0, b.abs().max().item())


@pytest.mark.parametrize("case", CASES)
def test_logits_and_all_gradients_are_those_of_the_naive_sum(case):
    weights, alphas, labels, ours, naive = problem(case)
    results = []
    for forward in (ours, naive):
        logits = forward(weights, alphas)
        gradients = torch.autograd.grad(
            F.cross_entropy(logits, labels), [*alphas, *weights.values()], allow_unused=True
        )
        results.append([logits, *(torch.zeros(()) if g is None else g for g in gradients)])
    close(*results)
    assert sum(g.abs().max() > 1e-6 for g in results[0]) > len(alphas) + 1  # the comparison is not one of zeros


@pytest.mark.parametrize("case", ["darts, maps of 12, 6 and 3", "smooth", "nasbench201"])
def test_the_mixed_second_derivative_times_a_vector_is_that_of_the_naive_sum(case):
    weights, alphas, labels, ours, naive = problem(case, seed=1)
    vector = [torch.randn_like(w) for w in weights.values()]
    products = []
    for forward in (ours, naive):
        loss = F.cross_entropy(forward(weights, alphas), labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        products.append(torch.autograd.grad(sum((g * v).sum() for g, v in zip(gradients, vector)), alphas))
    close(*products)


def test_second_derivatives_in_the_weights_are_those_of_the_naive_sum():
    weights, alphas, labels, ours, naive = problem("smooth", seed=2)
    vector = [torch.randn_like(w) for w in weights.values()]
    products = []
    for forward in (ours, naive):
        loss = F.cross_entropy(forward(weights, alphas), labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        inner = sum((g * v).sum() for g, v in zip(gradients, vector))
        products.append(torch.autograd.grad(inner, list(weights.values())))
    close(*products)


@pytest.mark.parametrize(
    "channels, cells, count", [(16, 8, 1_930_618), (8, 8, 597_890), (8, 5, 394_210), (16, 3, 673_850)]
)
def test_it_has_the_reference_s_number_of_weights(channels, cells, count):
    assert sum(p.numel() for p in Supernet(channels=channels, cells=cells).parameters()) == count


def test_the_naive_sum_costs_what_the_reference_costs():
    net, images = Supernet(), torch.randn(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        naive_forward(dict(net.named_parameters()), images, initial_alphas(net), **DARTS, channels=16, cells=8)
    assert counter.get_total_flops() == 2 * (300_253_184 + 2_560)


def test_every_operation_starts_as_a_convolution_of_its_own_would():
    """PyTorch draws uniformly within 1 / sqrt(fan-in); the fan-in of one edge must survive the stacking."""
    torch.manual_seed(0)
    fan_in = {"depthwise": 9, "pointwise": 64, "even": 64, "odd": 64}
    for name, weight in Supernet(primitives=("sep_conv_3x3", "skip_connect")).cells[5].sources.named_parameters():
        expected = next(bound for key, bound in fan_in.items() if f".{key}" in name) ** -0.5
        assert 0.98 * expected < weight.abs().max() <= expected, name


class WeightGradients(TorchDispatchMode):
    """Counts the weight gradients of convolutions by the shape of the weight."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function is torch.ops.aten.convolution_backward.default and arguments[-1][1]:
            self.shapes.append(tuple(arguments[2].shape))
        return function(*arguments, **(keywords or {}))


def test_weights_that_need_no_gradient_cost_no_weight_gradients():
    net = Supernet(channels=4, cells=3, primitives=DARTS_PRIMITIVES[4:])
    alphas, images = [a.requires_grad_() for a in initial_alphas(net)], torch.randn(2, 3, 16, 16)
    weights = {name: weight.detach() for name, weight in net.named_parameters()}
    with WeightGradients() as counter:
        torch.autograd.grad(functional_call(net, weights, (images, alphas)).sum(), alphas)
    assert counter.shapes == []


def test_a_forward_pass_changes_no_state_and_alphas_are_no_parameters():
    net = Supernet(channels=4, cells=3)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    alphas = initial_alphas(net, torch.Generator().manual_seed(0))
    net(torch.randn(2, 3, 16, 16), alphas)
    assert before.keys() == dict(net.named_parameters()).keys()
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert [tuple(a.shape) for a in alphas] == [(14, 8), (14, 8)]
    assert all(0.7 < a.std() < 1.3 for a in alphas)


def test_the_first_alphas_belong_to_normal_cells_and_the_second_to_reductions():
    images = torch.randn(2, 3, 16, 16)
    for cells, used in ((2, [False, True]), (3, [True, True])):  # two cells: both reduce; three: cells 1 and 2
        net = Supernet(channels=4, cells=cells)
        alphas = [a.requires_grad_() for a in initial_alphas(net)]
        gradients = torch.autograd.grad(net(images, alphas).sum(), alphas, allow_unused=True)
        assert [g is not None for g in gradients] == used


@pytest.mark.parametrize("wrong", [dict(skeleton="resnet"), dict(primitives=("none", "conv_9x9"))])
def test_what_it_does_not_know_it_refuses_in_one_line(wrong):
    with pytest.raises(UserError, match="found .* allowed"):
        Supernet(**wrong)


def test_a_map_that_cannot_be_halved_is_refused():
    net = Supernet(channels=4, cells=3)
    with pytest.raises(UserError, match="sides divisible by 4"):
        net(torch.randn(2, 3, 10, 10), initial_alphas(net))  # 10 -> 5


# --- the slow form ----------------------------------------------------------------------------------------------------

ALONE = ("none", "factorized convolution", "dilated convolution")  # families without a fast form
FAST_OR_SHARED = [name for name, about in genotypes.TABLE.items() if about.family not in ALONE]


def both_forms(name, stride, channels=4, edges=3):
    """One operation in its fast form and in the slow one with the same weights."""
    torch.manual_seed(0)
    fast = MixedEdges((name, "none"), channels, edges, stride, norm_pools=False, activation=F.relu).double()
    slow = PlainEdges(name, channels, edges, stride).double()
    with torch.no_grad():
        for k, operation in enumerate(slow.operations):
            for theirs, ours in zip(operation.parameters(), fast.parameters(), strict=True):
                theirs.copy_(ours.view(edges, -1, *ours.shape[1:])[k])
    return fast, lambda x, p: slow(x, p[:, 0])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", FAST_OR_SHARED)
def test_the_slow_form_of_an_operation_equals_the_fast_one(name, stride):
    fast, slow = both_forms(name, stride)
    assert not fast.plain
    results = []
    for form in (fast, slow):
        x = torch.randn(2, 4, 8, 8, dtype=torch.double, generator=torch.Generator().manual_seed(1)).requires_grad_()
        p = torch.rand(3, 2, dtype=torch.double, generator=torch.Generator().manual_seed(2)).requires_grad_()
        y = form(x, p)
        weights = torch.linspace(-1, 1, y.numel(), dtype=torch.double).view_as(y)
        results.append((y, *torch.autograd.grad((y * weights).sum(), (x, p))))
    close(*results)


@pytest.fixture
def se_conv(open_table):
    """A user's own: a convolution whose channels are weighed by what the whole map holds."""

    class Squeeze(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())

        def forward(self, x):
            return x * self.excite(x)

    def construct(channels_in, channels_out, stride, affine):
        convolution = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(channels_out, affine=affine), Squeeze(channels_out))

    operations.register("se_conv", construct)
    return "se_conv"


TINY = dict(budget="smoke", channels=2, cells=3, epochs=1, batch_size=360, progress=False)
CHILDREN = dict(budget="smoke", channels=2, cells=3, trials=2, child_epochs=1, batch_size=360, progress=False)


def test_a_users_own_operation_serves_every_method(se_conv):
    for method, space, options in (
        ("darts", spaces.get("darts", primitives=("none", "skip_connect", se_conv)), TINY | dict(order=1)),
        ("darts", spaces.get("darts", nodes=2, primitives=(se_conv, "sep_conv_3x3")), TINY | dict(order=2)),
        ("enas-micro", spaces.get("enas-micro", nodes=2, primitives=(se_conv, "skip_connect")), TINY),
        ("enas-macro", spaces.get("enas-macro", layers=3, primitives=(se_conv, "max_pool_3x3")), TINY),
        ("nasnet", spaces.get("nasnet", blocks=2, primitives=(se_conv, "skip_connect")), CHILDREN),
        ("pnas", spaces.get("pnas", blocks=2, primitives=(se_conv, "skip_connect")), CHILDREN),
        ("evolution", spaces.get("darts", primitives=("none", "skip_connect", se_conv)), CHILDREN),
    ):
        result = nascore.run(method, space=space, **options)
        assert result.finished and not any("error" in row for row in result.history), (method, result.history)
        assert set(space.primitives) >= {op for op in ops_of(result.genotype)}


def ops_of(genotype):
    if isinstance(genotype, genotypes.MacroGenotype):
        return [layer.op for layer in genotype.layers]
    cells = [cell for cell in (genotype.normal, genotype.reduce) if cell is not None]
    return [op for cell in cells for node in cell.nodes for op in node.ops]


def test_every_published_operation_serves_darts():
    names = sorted(genotypes.OPERATIONS)
    net = Supernet(primitives=names, nodes=1, channels=4, cells=3)
    logits = net(torch.randn(2, 3, 8, 8), initial_alphas(net))
    assert logits.isfinite().all() and len(list(net.buffers())) == 0  # nothing that a call with other weights changes


def test_a_user_may_replace_a_published_operation(open_table):
    seen = []

    def construct(*sizes):
        seen.append(sizes)
        return nn.Conv2d(sizes[0], sizes[1], 1, sizes[2])

    operations.register("sep_conv_3x3", construct)
    net = Supernet(primitives=("sep_conv_3x3", "skip_connect"), nodes=1, channels=4, cells=3)
    assert len(seen) == 6 and net(torch.randn(2, 3, 8, 8), initial_alphas(net)).isfinite().all()
