"""What a computation asks of PyTorch, counted."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Counts what is run; views and allocations do no arithmetic and are left out."""

    SKIPPED = ("empty", "detach", "lift", "_local_scalar_dense", "alias", "is_")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name = function.name().removeprefix("aten::")
        self.count += not (function.is_view or name.startswith(self.SKIPPED))
        return function(*arguments, **(keywords or {}))
