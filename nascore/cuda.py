"""What a GPU needs beside the code of the CPU: its errors told apart, differences that it does not
round away, and steps that are recorded once and played. All but the errors does nothing on a CPU.

Its convolutions may round their factors to TF32, as PyTorch has it: 10 bits, which training bears.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor
from torch import device as Device

from nascore.errors import UserError, reason, shorten

# How running out of memory is said where PyTorch has no exception for it: by its own allocators,
# by the CUDA runtime, cuBLAS and cuDNN.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
GRAPHS = ("auto", "on", "off")
PAYS = 50  # steps with the same numbers from which recording one is worth it; not measured


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(map(reason(error).__contains__, OUT_OF_MEMORY))


def is_lost(error: BaseException) -> bool:
    """Whether the GPU answers nothing any more to this process: after an assertion that failed on
    it, or an address that is not its, every later call fails too."""
    known = isinstance(error, torch.AcceleratorError)
    said = isinstance(error, RuntimeError) and str(error).startswith("CUDA error")
    return (known or said) and not ran_out_of_memory(error)


@contextmanager
def ieee() -> Iterator[None]:
    """Convolutions and products in whole float32, for the difference of two losses: TF32 turns the
    term of equation 8 by 23 degrees (a cosine of 0.92 with float64's; bfloat16's is 0.67)."""
    backends: Any = torch.backends
    places = [backends.cudnn.conv, backends.cuda.matmul]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, precision in zip(places, before):
            place.fp32_precision = precision


def plays(graphs: str, device: Device, steps: int) -> bool:
    """Whether steps on `device` are recorded, of which so many have the same numbers."""
    return device.type == "cuda" and (graphs == "on" or (graphs == "auto" and steps >= PAYS))


class Played:
    """A step, `call(*numbers, *tensors)`, as one CUDA graph: it is recorded, and from then on the
    card plays it without waiting for Python.

    A graph holds the numbers with which it was recorded, and the sizes of its tensors. So the first
    step with new ones (an epoch's learning rate, a smaller last minibatch) runs as it is; what is
    to live longer (momentum, the libraries' workspaces) is made then. The second is recorded. What
    comes back is overwritten by the next step.

    The call is given at every step and not kept: whoever has a `Played` is in no cycle with it, and
    a child's memory is free with its last name.
    """

    def __init__(self, generator: Generator | None = None):
        self.generator = generator  # what the step draws with, on the card; seeded between steps
        self.forget()

    def forget(self) -> None:
        """The next step runs as it is: where what a graph works on was replaced, as momentum is
        from a checkpoint."""
        self.known: tuple | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[Tensor] = []
        self.outputs: Any = None

    def __call__(
        self, call: Callable[..., Any], numbers: Sequence[float], *tensors: Tensor, on: bool = True
    ) -> Any:
        """The step; `on`: where `plays` says so."""
        if not on:
            return call(*numbers, *tensors)
        known = (*numbers, *(x.shape for x in tensors))
        if known != self.known:
            self.forget()
            outputs = _run_aside(call, numbers, tensors)
            self.known = known
            return outputs
        if self.graph is None:
            self._record(call, numbers, tensors)
        for kept, x in zip(self.inputs, tensors):
            kept.copy_(x)
        assert self.graph
        self.graph.replay()
        return self.outputs

    def _record(
        self, call: Callable[..., Any], numbers: Sequence[float], tensors: Sequence[Tensor]
    ) -> None:
        """Nothing is computed yet. Other threads (a notebook's panel) may go on meanwhile. Raises
        `UserError` for a step that reads a number from the card."""
        self.inputs = [x.clone() for x in tensors]
        graph = torch.cuda.CUDAGraph()
        if self.generator is not None:
            graph.register_generator_state(self.generator)
        aside = _aside(tensors[0].device)
        recording = torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local")
        try:
            with torch.cuda.stream(aside), recording:  # one that fails does not leave its stream
                self.outputs = call(*numbers, *self.inputs)
        except Exception as error:
            if "captur" not in reason(error):
                raise
            first = error.__context__ or error  # the end of a recording that failed fails too
            if "captur" not in reason(first):
                raise first from None
            why = shorten(reason(first).splitlines()[0], 120)
            raise UserError(f"a step cannot be recorded ({why}): --graphs off") from None
        self.graph = graph


@cache
def _aside(device: Device) -> torch.cuda.Stream:
    """One for all: a stream has its own workspaces and memory, which others do not get."""
    return torch.cuda.Stream(device)


def _run_aside(
    call: Callable[..., Any], numbers: Sequence[float], tensors: Sequence[Tensor]
) -> Any:
    """On the stream on which steps are recorded: autograd remembers where it ran."""
    aside = _aside(tensors[0].device)
    here = torch.cuda.current_stream(aside.device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        outputs = call(*numbers, *tensors)
    here.wait_stream(aside)
    return outputs
