"""What oneDNN's gradients cannot do without writing beyond their memory: filters larger than their maps, and a 1x1
convolution with a stride whose minibatch two threads share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nascore.nets.blocks import SameConv
from nascore.nets.operations import Skip

CHECKED = Path("/usr/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")  # glibc's: every block of memory has guards
FILTERS = [((99, 1), 16), ((1, 99), 16), ((33, 1), 16), ((31, 1), 16), ((23, 3), 12), ((15, 1), 8), ((99, 99), 8)]
CASES = [(one, channels) for one in FILTERS for channels in ((16, 24), (1, 8))]
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
HALVED = """
import torch
from nascore.nets.operations import Skip
torch.set_num_threads(2)
for images in (437, 101, 64):
    skip = Skip(8, 8, 1, 2).to(memory_format=torch.channels_last)
    for _ in range(5):
        x = torch.randn(images, 8, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
        y = skip(x)
        y.backward(torch.randn_like(y))
print("whole")
"""


@pytest.mark.parametrize("code", [CODE.replace("{cases}", repr(CASES)), HALVED], ids=["tall", "halved"])
def test_the_heap_stays_whole(code):
    """In a process of its own: one that lost its heap cannot be trusted to say so."""
    environment = dict(os.environ)
    if CHECKED.exists():
        environment |= {"LD_PRELOAD": str(CHECKED), "MALLOC_CHECK_": "3"}
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


def test_a_halving_1x1_is_pytorch_s_own():
    torch.manual_seed(0)
    skip = Skip(3, 5, 1, 2).double()
    for height, width in ((8, 8), (7, 5), (1, 1)):
        x = torch.randn(3, 3, height, width, dtype=torch.double, requires_grad=True)
        found, expected = skip(x), skip[2](skip[1](skip[0](x)))
        torch.testing.assert_close(found, expected)
        ours, theirs = (torch.autograd.grad(y.square().sum(), (x, skip[1].weight)) for y in (found, expected))
        torch.testing.assert_close(ours, theirs)
