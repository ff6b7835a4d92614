"""Ready for a GPU, on a machine that has none: whole steps on a pretended one (`FakeTensorMode`: shapes and devices, no
numbers), which refuses mixed devices and every read; and what a GPU's errors become."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nascore import bilevel, cuda, published, spaces
from nascore import images as pictures
from nascore.errors import UserError
from nascore.images import Images
from nascore.loop import Loop, drive
from nascore.methods.darts import DARTS, DARTSBudget
from nascore.nets.convolutional import Network
from nascore.nets.shared import shared_network
from nascore.nets.sizes import home
from nascore.nets.supernet import Supernet, initial_alphas

CARD = torch.device("cuda", 0)


def placed(module, *place, memory_format=torch.preserve_format):
    """`nn.Module.to`, which swaps tensors in place, and a pretended one cannot be."""
    for part in module.modules():
        for held, make in ((part._parameters, nn.Parameter), (part._buffers, torch.Tensor.detach)):
            for name, tensor in held.items():
                if tensor is not None:
                    of_maps = {"memory_format": memory_format} if tensor.dim() == 4 else {}
                    held[name] = make(tensor.detach().to(*place, **of_maps))
    return module


@pytest.fixture
def card(monkeypatch):
    monkeypatch.setattr(nn.Module, "to", placed)
    pictures._channels.cache_clear()  # what it keeps belongs to another card
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        yield mode
    pictures._channels.cache_clear()


def images(count=64):
    pixels = torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, device=CARD)
    labels = torch.zeros(count, dtype=torch.long, device=CARD)
    return Images("pretended", pixels, labels, pixels, labels, tuple("0123456789"), (0.5,) * 3, (0.5,) * 3, 4, True)


def test_the_pretended_card_finds_what_it_is_for(card):
    x = torch.ones(1, 3, 8, 8, device=CARD)
    with pytest.raises(RuntimeError, match="two different devices|same device"):
        x + torch.ones(8)
    with pytest.raises(RuntimeError, match="two different devices|same device"):
        torch.nn.functional.conv2d(x, torch.ones(3, 3, 1, 1))
    with pytest.raises(Exception, match="_local_scalar_dense"):
        x.sum().item()


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_the_losses_of_darts_are_on_the_card(card, space):
    search = DARTS(spaces.get(space), images(), DARTSBudget(channels=4, cells=3, batch_size=4), 0, CARD)
    for batches in (search.train_batches, search.valid_batches):
        seen = search.loss_on(batches[0])
        seen(search.weights, search.alphas)
        assert {tensor.device for tensor in (*batches[0], seen.loss, seen.score, *search.alphas)} == {CARD}
    assert all(group["capturable"] for group in search.alpha_optimizer.param_groups)


@pytest.mark.parametrize("name", ["enas-micro", "enas-macro", "nasbench201"])
def test_the_paths_of_enas_are_on_the_card(card, name):
    space = spaces.get(name)
    supernet = placed(shared_network(space, 4, 3, 10, 3), CARD)
    for option in (0, 1):
        logits = supernet(images().batches("train", 8, 0)[0][0], space.decode([option] * len(space.choices)))
        assert logits.device == CARD and logits.shape == (8, 10)


@pytest.mark.parametrize("name", [name for name in published.PUBLISHED if "-rnn" not in name])
def test_the_published_networks_are_on_the_card(card, name):
    sizes = home(name)
    cells = sizes.skeleton in ("darts", "nasnet", "pnasnet", "enas")
    network = Network(published.GENOTYPES[name], 8, 3, 10, skeleton=sizes.skeleton, auxiliary=cells)
    placed(network, CARD).drop_path = 0.3
    inputs, targets = images().batches("train", 8, 0, cutout=4)[0]
    found = network(inputs)
    for logits in found if isinstance(found, tuple) else (found,):
        assert images().loss(logits, targets).device == CARD and logits.shape == (8, 10)


# --- the second term, exact -------------------------------------------------------------------------------------------


class Convolutions(TorchDispatchMode):
    """Counts them, and their gradients."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "convolution" in function.name()
        return function(*args, **kwargs or {})


def exact_term(device):
    with torch.device(device):
        supernet = Supernet(channels=16, cells=8)
        alphas = initial_alphas(supernet)
        x = torch.empty(2, 3, 32, 32)
    alphas = [alpha.to(device).requires_grad_() for alpha in alphas]
    names = [name for name, _ in supernet.named_parameters()]
    weights = [w.detach() for w in supernet.parameters()]

    def loss(weights, alphas):
        return torch.func.functional_call(supernet, dict(zip(names, weights)), (x, alphas)).logsumexp(1).sum()

    with Convolutions() as seen:
        bilevel.exact_product(loss, weights, alphas, weights)
    return seen.count


def test_the_exact_term_takes_no_convolution_for_every_channel(monkeypatch):
    """PyTorch's derivative of a grouped convolution's gradient runs over its groups one by one. Counted on `meta`:
    like a card it is not the CPU, and it knows no autocast."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    ours = exact_term("meta")
    monkeypatch.setattr(bilevel, "differentiated_twice", nullcontext)
    assert exact_term("meta") > 4 * ours


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_the_probes_of_the_finite_difference_are_not_rounded_to_tf32():
    convolutions, products = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision
    seen = []

    def loss(weights, alphas):
        seen.append((convolutions.fp32_precision, products.fp32_precision))
        return (weights[0] * alphas[0]).sum()

    alpha = torch.ones(2, requires_grad=True)
    bilevel.architecture_gradient(loss, loss, [torch.ones(2)], [alpha], xi=0.1)
    assert seen == [before, before, ("ieee", "ieee"), ("ieee", "ieee")]
    assert (convolutions.fp32_precision, products.fp32_precision) == before


# --- errors -----------------------------------------------------------------------------------------------------------

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    MemoryError(),
]
LOST = [
    torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
]
NEITHER = [RuntimeError("The size of tensor a (2) must match"), ValueError("out of memory"), UserError("7")]


@pytest.mark.parametrize("error", [*OUT_OF_MEMORY, *LOST, *NEITHER], ids=repr)
def test_errors_are_told_apart(error):
    assert cuda.ran_out_of_memory(error) == (error in OUT_OF_MEMORY)
    assert cuda.is_lost(error) == (error in LOST)


@pytest.mark.parametrize("error", LOST, ids=repr)
def test_a_card_that_is_lost_ends_a_run_in_one_line_that_says_how_to_go_on(error, tmp_path):
    class Breaks(Loop):
        total = 5

        def step(self):
            raise error

    with pytest.raises(UserError, match="the GPU was lost .*CUDA error.*go on with --resume from the last") as caught:
        drive(Breaks(), directory=tmp_path / "run", progress=False)
    assert "\n" not in str(caught.value)


def test_graphs_are_for_cards_and_for_steps_that_repeat():
    cpu = torch.device("cpu")
    assert not any(cuda.plays(graphs, cpu, 1000) for graphs in cuda.GRAPHS)
    assert [cuda.plays(graphs, CARD, 1000) for graphs in cuda.GRAPHS] == [True, True, False]
    assert [cuda.plays(graphs, CARD, 3) for graphs in cuda.GRAPHS] == [False, True, False]
    with pytest.raises(UserError, match="--graphs: found 'maybe', allowed: auto, on, off"):
        drive(Loop(), graphs="maybe")
