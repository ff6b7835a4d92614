"""CUDA graphs on a CPU, for tests: `pretended(monkeypatch)` puts stand-ins in place of PyTorch's.

A recording keeps what a card's would: which operations run, on which memory and with which numbers. It computes
nothing that stays: what it overwrites is put back at its end. A replay runs the same operations on the same memory, and
whoever holds a tensor of the recording sees its new values. As on a card, a read by the host ends a recording.
"""

import sys
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select")


def tensors_in(values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def place(tensor):
    return tensor.untyped_storage().data_ptr()


class Graph:
    """In place of `torch.cuda.CUDAGraph`."""

    made = 0  # how many were recorded

    def __init__(self):
        self.calls = []
        self.generators = []
        self.replays = 0

    def register_generator_state(self, generator):
        self.generators.append(generator)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for call, outputs in self.calls:
            for kept, new in zip(outputs, tensors_in(call())):
                if place(kept) != place(new):  # neither a view nor what was changed in place
                    kept.copy_(new)


class Recording(TorchDispatchMode):
    """In place of `torch.cuda.graph`."""

    def __init__(self, graph, **how):
        super().__init__()
        self.graph = graph
        self.before = {}  # what is overwritten, and its bytes
        self.states = [generator.get_state() for generator in graph.generators]
        self.broken = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.name() in READS:
            self.broken = True
            raise torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        if function._schema.is_mutable or "batch_norm" in function.name():  # whose running averages no schema names
            for tensor in tensors_in((args, kwargs)):
                memory = tensor.untyped_storage()
                self.before.setdefault(place(tensor), (memory, memory.clone()))
        found = function(*args, **kwargs)
        self.graph.calls.append((partial(function, *args, **kwargs), tensors_in(found)))
        return found

    def __exit__(self, *error):
        super().__exit__(*error)
        for memory, content in self.before.values():
            memory.copy_(content)
        for generator, state in zip(self.graph.generators, self.states):
            generator.set_state(state)
        if self.broken or error[0]:
            raise torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture")
        Graph.made += 1


class Stream:
    """In place of `torch.cuda.Stream`: all that is asked of one."""

    def __init__(self, device=None):
        self.device = device

    def wait_stream(self, other):
        assert isinstance(other, Stream)


def pretended(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Recording)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(Graph, "made", 0)
    # Adam counts its steps on the card where it is `capturable`; that it may do so on a CPU is known to no one.
    adam = sys.modules[torch.optim.Adam.__module__]
    monkeypatch.setattr(adam, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])
