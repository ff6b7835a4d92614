"""Filters larger than their maps, which oneDNN's gradients could not do without writing beyond their memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nascore.nets.blocks import SameConv

CHECKED = Path("/usr/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")  # glibc's: every block of memory has guards
FILTERS = [((99, 1), 16), ((1, 99), 16), ((33, 1), 16), ((31, 1), 16), ((23, 3), 12), ((15, 1), 8), ((99, 99), 8)]
CODE = """
import torch
from nascore.nets.blocks import SameConv
for (kernel, side), channels in {cases}:
    for stride in (1, 2):
        for form in (torch.contiguous_format, torch.channels_last):
            torch.manual_seed(0)
            conv = SameConv(*channels, kernel, (stride, stride))
            x = torch.randn(4, channels[0], side, side).contiguous(memory_format=form).requires_grad_()
            conv(x).square().sum().backward()
            others = [torch.zeros(n) for n in range(1, 30_000, 997)]  # these would lie on what was written
            del others
print("whole")
"""


def test_the_heap_stays_whole():
    """In a process of its own: one that lost its heap cannot be trusted to say so."""
    cases = [(one, channels) for one in FILTERS for channels in ((16, 24), (1, 8))]
    environment = dict(os.environ)
    if CHECKED.exists():
        environment |= {"LD_PRELOAD": str(CHECKED), "MALLOC_CHECK_": "3"}
    code = CODE.replace("{cases}", repr(cases))
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "whole\n"), ended.stderr


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel, side", FILTERS + [((3, 5), 8), ((7, 7), 4), ((4, 2), 5), ((1, 1), 3), ((6, 1), 1)])
def test_outputs_and_gradients_are_those_of_a_matrix_product(kernel, side, stride):
    """Of the padded map's patches (unfold), in float64."""
    torch.manual_seed(0)
    conv = SameConv(2, 3, kernel, (stride, stride)).double()
    x = torch.randn(2, 2, side, side, dtype=torch.double, requires_grad=True)
    out = -(-side // stride)
    pads = [max(0, (out - 1) * stride + k - side) for k in kernel]  # TensorFlow's SAME, the larger part last
    around = [part for pad in reversed(pads) for part in (pad // 2, pad - pad // 2)]
    patches = F.unfold(F.pad(x, around), kernel, stride=stride)
    expected = (conv.weight.flatten(1) @ patches).view(2, 3, out, out)
    found = conv(x)
    torch.testing.assert_close(found, expected)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.double).view_as(found)
    ours, theirs = (torch.autograd.grad((y * weights).sum(), (x, conv.weight)) for y in (found, expected))
    torch.testing.assert_close(ours, theirs)
