"""Ready for a GPU, on a machine that has none: whole steps on a pretended one (`FakeTensorMode`: shapes and devices, no
numbers), which refuses mixed devices and every read; and what a GPU's errors become."""

import copy
import gc
import weakref
from contextlib import nullcontext

import pytest
import torch
from pretended_graphs import Graph, pretended, tensors_in
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nascore import bilevel, cuda, published, spaces, training
from nascore import images as pictures
from nascore.errors import UserError
from nascore.images import Images
from nascore.loop import Loop, drive
from nascore.methods import darts
from nascore.methods.darts import DARTS, DARTSBudget
from nascore.nets.convolutional import Network
from nascore.nets.shared import shared_network
from nascore.nets.sizes import home
from nascore.nets.supernet import Supernet, initial_alphas
from nascore.training import Training, recipe_named

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


# --- steps that are recorded and played -------------------------------------------------------------------------------


@pytest.fixture
def graphs(monkeypatch):
    """Graphs on the CPU (`pretended_graphs`), for all steps of `Training` and DARTS."""
    cuda._aside.cache_clear()
    pretended(monkeypatch)
    for module in (training, darts):
        monkeypatch.setattr(module, "plays", lambda graphs, device, steps: graphs == "on")
    yield Graph
    cuda._aside.cache_clear()


def test_a_step_runs_then_is_recorded_then_played(graphs):
    seen = []

    def call(rate, x):
        seen.append(rate)
        total.add_(x.sum() * rate)
        return total * 2

    played, total = cuda.Played(), torch.zeros(())
    outputs = [played(call, (2.0,), torch.full((3,), k)).item() for k in (1.0, 2.0, 3.0, 4.0)]
    assert outputs == [12.0, 36.0, 72.0, 120.0] and seen == [2.0, 2.0]  # Python was there twice
    assert (played.graph.replays, graphs.made) == (3, 1)
    first, second = (played(call, (2.0,), torch.full((3,), k)) for k in (5.0, 6.0))
    assert first is second and first.item() == total.item() * 2  # overwritten by the next step


def test_new_numbers_and_new_shapes_are_recorded_anew(graphs):
    def call(rate, x):
        return x * rate

    played, two, three = cuda.Played(), torch.ones(2), torch.ones(3)
    steps = [(1.0, two), (1.0, two), (1.0, two), (2.0, two), (2.0, two), (2.0, three), (2.0, two), (2.0, two)]
    recorded = []
    for rate, x in steps:
        assert torch.equal(played(call, (rate,), x), x * rate)
        recorded.append(graphs.made)
    assert recorded == [0, 1, 1, 1, 2, 2, 2, 3]
    played.forget()
    assert played.outputs is None and played.graph is None and not played.inputs


def test_a_step_that_fails_is_no_first_step(graphs):
    def call(x):
        raise MemoryError

    played = cuda.Played()
    for _ in range(2):
        with pytest.raises(MemoryError):
            played(call, (), torch.ones(1))
    assert played.known is None and graphs.made == 0


def test_a_step_that_reads_a_number_says_how_to_run_without_a_graph(graphs):
    played = cuda.Played()
    call = Tensor.item
    assert played(call, (), torch.ones(1)) == 1.0
    with pytest.raises(UserError, match="cannot be recorded .*not permitted when.*capturing.*--graphs off") as caught:
        played(call, (), torch.ones(1))
    assert "\n" not in str(caught.value)


def test_too_little_memory_while_recording_stays_what_it_is(graphs):
    calls = []

    def call(x):
        calls.append(x)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    played = cuda.Played()
    played(call, (), torch.ones(1))
    with pytest.raises(torch.OutOfMemoryError):
        played(call, (), torch.ones(1))


class Searching(DARTS):
    """Adam counts its steps where a card would."""

    def step(self):
        self.alpha_optimizer.param_groups[0]["capturable"] = True
        return super().step()


def searching(order, hessian="finite-difference"):
    """Epochs of four steps, the last of which is smaller."""
    fields = dict(epochs=4, batch_size=3, channels=2, cells=3, order=order, hessian=hessian)
    return Searching(spaces.get("darts", nodes=2), noise(22, 8), DARTSBudget(**fields), 0, torch.device("cpu"))


def training_of(recipe="small"):
    auxiliary = recipe == "darts-cifar"
    network = Network(published.GENOTYPES["darts-v2"], 4, 3, 10, auxiliary=auxiliary)
    with torch.no_grad():
        for k, p in enumerate(network.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) / 4)
    fields = dict(epochs=3, batch_size=4, drop_path=0.3, cutout=4) if auxiliary else dict(epochs=3, batch_size=4)
    return Training(network, noise(14), recipe_named(recipe, **fields), 0)


def noise(count, side=16):
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=random)
    labels = torch.arange(count) % 10
    return Images("noise", pixels, labels, pixels, labels, tuple("0123456789"), (0.5,) * 3, (0.5,) * 3, 2, True)


LOOPS = {
    "first order": lambda: searching(1),
    "second order": lambda: searching(2),
    "exact": lambda: searching(2, "exact"),
    "training": training_of,
    "training with drop path": lambda: training_of("darts-cifar"),
}


def state_after(loop, steps, graphs):
    loop.graphs = graphs
    for _ in range(steps):
        loop.step()
    return [x.clone() for x in tensors_in(loop.state_dict()) if x.is_floating_point()], loop.history


@pytest.mark.parametrize("name", LOOPS)
def test_what_is_played_is_what_would_have_run(graphs, name):
    """To the last bit, over the end of an epoch, whose last minibatch is smaller and after which rates are others."""
    make = LOOPS[name]
    steps = 10 if "training" in name else 7
    eager, eager_rows = state_after(make(), steps, "off")
    assert graphs.made == 0
    played, rows = state_after(make(), steps, "on")
    assert graphs.made > 0 and rows == eager_rows and len(rows) > 0
    assert len(played) == len(eager) and all(map(torch.equal, played, eager))


@pytest.mark.parametrize("name", ["first order", "training"])
def test_a_graph_does_not_outlive_what_it_worked_on(graphs, name):
    """A checkpoint brings other momentum, within an epoch too: to load one is to begin from it."""
    loop = LOOPS[name]()
    state_after(loop, 2, "on")
    stored = copy.deepcopy(loop.state_dict())
    wanted, _ = state_after(loop, 1, "on")
    loop.load_state_dict(stored)
    found, _ = state_after(loop, 1, "on")
    assert graphs.made > 0 and all(map(torch.equal, found, wanted))


def test_training_and_darts_are_freed_with_their_last_name(graphs):
    """Memory of the card is: nobody collects garbage between two children."""
    torch.optim.SGD([torch.ones(1)])  # the first one imports much, and who has called it lives on
    was = gc.isenabled()
    gc.disable()
    try:
        for name in ("first order", "training"):
            loop = LOOPS[name]()
            loop.step()
            gone = weakref.ref(loop)
            del loop
            assert gone() is None
    finally:
        if was:
            gc.enable()
