"""What a GPU needs beside the code of the CPU: its errors told apart, differences that it does not
round away, and steps that are recorded once and played. All but the errors does nothing on a CPU.

Its convolutions may round their factors to TF32, as PyTorch has it: 10 bits, which training bears.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nascore.errors import reason

# How running out of memory is said where PyTorch has no exception for it: by its own allocators,
# by the CUDA runtime, cuBLAS and cuDNN.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
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
    said = isinstance(error, torch.AcceleratorError) or "CUDA error" in reason(error)
    return said and not ran_out_of_memory(error)


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


def plays(graphs: str, device: torch.device, steps: int) -> bool:
    """Whether steps on `device` are recorded, of which so many have the same numbers."""
    return device.type == "cuda" and (graphs == "on" or (graphs == "auto" and steps >= PAYS))


class Played:
    """A step, `call(*numbers, *tensors)`, as one CUDA graph: it is recorded, and from then on the
    card plays it without waiting for Python.

    A graph holds the numbers with which it was recorded, and the sizes of its tensors. So the first
    step with new ones (an epoch's learning rate, a smaller last minibatch) runs as it is; what is
    to live longer (momentum, the libraries' workspaces) is made then. The second is recorded. What
    comes back is overwritten by the next step.
    """

    def __init__(self, call: Callable[..., Any], generator: torch.Generator | None = None):
        self.call = call
        self.generator = generator  # what the step draws with, on the card; seeded between steps
        self.known: tuple = ()
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, numbers: Sequence[float], *tensors: Tensor) -> Any:
        known = (*numbers, *(x.shape for x in tensors))
        if known != self.known:
            self.known = known
            self.graph = None
            return self._aside(numbers, tensors)
        if self.graph is None:
            self._record(numbers, tensors)
        for kept, x in zip(self.inputs, tensors):
            kept.copy_(x)
        assert self.graph
        self.graph.replay()
        return self.outputs

    def _aside(self, numbers: Sequence[float], tensors: Sequence[Tensor]) -> Any:
        """On a stream of its own, as a recording is: autograd remembers where it ran."""
        here = torch.cuda.current_stream()
        aside = torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            outputs = self.call(*numbers, *tensors)
        here.wait_stream(aside)
        return outputs

    def _record(self, numbers: Sequence[float], tensors: Sequence[Tensor]) -> None:
        """Nothing is computed yet. Other threads (a notebook's panel) may go on meanwhile."""
        self.inputs = [x.clone() for x in tensors]
        graph = torch.cuda.CUDAGraph()
        if self.generator is not None:
            graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.outputs = self.call(*numbers, *self.inputs)
        self.graph = graph
