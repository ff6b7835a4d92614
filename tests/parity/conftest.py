"""What every comparison with the original repositories runs in: double precision, the same random
numbers, and, for those with quark0/darts, the code of a checkout of it.

    NASCORE_DARTS=FOLDER pytest tests/parity

imports and RUNS the code in FOLDER/cnn, as it is. Without that variable these comparisons are
skipped; nothing is ever downloaded. What takes minutes asks for `-m "long or not long"` as well.
"""

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

MODULES = ("genotypes", "model", "model_search", "architect")
ASKS = "runs the code of a checkout of quark0/darts: give its folder as NASCORE_DARTS=FOLDER"


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """New tensors are float64, so that what is left of a difference is a mistake."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(11)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def darts(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of FOLDER/cnn by name, imported anew for each test.

    Two things that PyTorch has taken away since are put back meanwhile: x.add_(scalar, tensor), and
    .cuda() where there is no GPU.
    """
    if "NASCORE_DARTS" not in os.environ:
        pytest.skip(ASKS)
    cnn = Path(os.environ["NASCORE_DARTS"]) / "cnn"
    if not (cnn / "model_search.py").is_file():
        pytest.fail(f"NASCORE_DARTS: no {cnn / 'model_search.py'}", pytrace=False)
    for owner in (Tensor, nn.Module):
        monkeypatch.setattr(owner, "cuda", lambda self, *_, **__: self)
    for name in ("add_", "sub_", "sub"):
        monkeypatch.setattr(Tensor, name, _scalar_first(getattr(Tensor, name)))
    monkeypatch.syspath_prepend(cnn)
    theirs = [path.stem for path in cnn.glob("*.py")]
    for name in theirs:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(**{name: import_module(name) for name in MODULES})
    for name in theirs:
        sys.modules.pop(name, None)


def _scalar_first(new: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def either(self: Tensor, first, *rest, **options) -> Tensor:
        if rest:  # x.add_(scalar, tensor)
            return new(self, rest[0], alpha=float(first))
        return new(self, first, **options)

    return either
