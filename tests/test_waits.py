"""Where the host would wait for a device: nothing inside a step reads a number, indexes by a list, or sends a constant.
Found on the CPU, by looking at every call that a step makes."""

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode

from nascore import data, published, spaces
from nascore.estimators import SharedWeights
from nascore.methods.darts import DARTS, DARTSBudget
from nascore.methods.enas import ENAS, MacroBudget, MicroBudget
from nascore.nets.convolutional import Network
from nascore.training import RECIPES, Training, evaluate

CPU = torch.device("cpu")
READS = ("item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "__bool__", "__float__", "__int__", "__index__")


class Watched(TorchFunctionMode):
    """Counts what would make the host wait: reads, constants that are sent, and lists as indices."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", str(function))
        if name in READS or function in (torch.tensor, torch.as_tensor):
            self.seen[name] += 1
        if name in ("__getitem__", "__setitem__"):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.seen["list"] += sum(isinstance(part, list) for part in index)
            self.seen["mask"] += sum(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in index)
        return function(*args, **kwargs or {})


def seen(call) -> dict[str, int]:
    """What a second call does: the first one may send what stays on the device."""
    call()
    with Watched() as watched:
        call()
    return {name: count for name, count in watched.seen.items() if count}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_the_net_finds_what_it_is_for():
    x = torch.arange(6.0).view(2, 3)
    with Watched() as watched:
        x[[0, 1]], x.sum().item(), x.tolist(), bool(x[0, 1] > 0), torch.tensor([1.0]), x[x > 2]
    assert watched.seen == {"item": 1, "tolist": 1, "__bool__": 1, "tensor": 1, "list": 1, "mask": 1}


@pytest.mark.parametrize("order, hessian", [(1, "exact"), (2, "finite-difference"), (2, "exact")])
@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_a_step_of_darts_reads_once_what_goes_into_its_row(digits, space, order, hessian):
    budget = DARTSBudget(epochs=9, channels=2, cells=3, batch_size=8, order=order, hessian=hessian)
    search = DARTS(spaces.get(space), digits, budget, 0, CPU)
    step = iter(range(100))

    def without_the_row():
        at = next(step)
        train, valid = search.train_batches[at], search.valid_batches[at]
        search.descend_architecture(train, valid, xi=0.1 if order == 2 else 0.0)
        search.descend_weights(train)

    assert seen(without_the_row) == {"item": len(search.alphas)}  # Adam counts its steps on the host
    with Watched() as watched:
        search.step()
    assert watched.seen["cpu"] == 1  # after it all numbers are on the host


@pytest.mark.parametrize("name, budget", [("enas-micro", MicroBudget), ("enas-macro", MacroBudget)])
def test_a_step_of_enas_reads_once(digits, name, budget):
    fields = dict(channels=2, cells=3, batch_size=16, samples=3)
    search = ENAS(spaces.get(name), digits, budget.preset("smoke", **fields), 0, CPU)
    assert seen(lambda: search.train_shared(0, 1)) == {"tolist": 1}
    minibatches = range(3)
    genotypes = [search.space.decode(row) for row in search.sample(3, "here").lists()]
    assert seen(lambda: search.rewards(genotypes, minibatches)) == {"tolist": 1}
    shared = SharedWeights(search.supernet, search.task, 16)
    assert seen(lambda: shared(genotypes[:1])) == {"item": 1}


@pytest.mark.parametrize("recipe", ["small", "darts-cifar", "nasnet-cifar"])
def test_a_step_of_training_reads_nothing_and_an_evaluation_once(digits, recipe):
    genotype = published.GENOTYPES["nasnet-a" if recipe == "nasnet-cifar" else "darts-v2"]
    network = Network(genotype, 4, 3, 10, 1, auxiliary=recipe != "small")
    training = Training(network, digits, RECIPES[recipe], 0)
    assert seen(training.step) == {}
    assert seen(lambda: evaluate(network, digits)) == {"tolist": 1}
