"""Less memory for more time: of a cell only what it reads is kept, and the backward pass computes
the rest again (Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory Cost",
2016). Every bit stays the same: a cell with a memory of its own, as a user's operation may have,
is left as it is.
"""

from contextlib import nullcontext
from typing import Any

from torch import Generator, Tensor
from torch.func import functional_call
from torch.nn import BatchNorm2d, Module
from torch.utils.checkpoint import checkpoint


def recomputed(cell: Module, *inputs: Any, generator: Generator | None = None) -> Any:
    """`cell(*inputs)`. The second time it has the weights of this call, which may be others than
    its own (`functional_call`), and draws from `generator` what it drew the first time."""
    if not all(isinstance(m, BatchNorm2d) for m in cell.modules() if m._buffers):
        return cell(*inputs)
    weights: dict[str, Tensor] = dict(cell.named_parameters())
    begun = generator.get_state() if generator is not None else None

    def call() -> Any:
        if generator is not None and begun is not None:
            generator.set_state(begun)
        return functional_call(cell, weights, inputs)

    return checkpoint(
        call,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), CountedOnce(cell)),
    )


class CountedOnce:
    """A block in which batch norms leave their running averages alone; it may be entered again, as
    by a gradient that is differentiated."""

    def __init__(self, cell: Module):
        norms = (module for module in cell.modules() if isinstance(module, BatchNorm2d))
        self.norms = [norm for norm in norms if norm.track_running_stats]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0
            norm.num_batches_tracked = None

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before):
            norm.momentum = momentum
            norm.num_batches_tracked = count
