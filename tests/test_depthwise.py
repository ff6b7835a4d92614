"""Depthwise convolutions against PyTorch's own, on every kind of map, kernel, stride and dilation that cells use."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from nascore.nets.depthwise import DepthwiseConv, depthwise

SIZES = [(1, 1), (1, 3), (2, 2), (3, 5), (4, 4), (7, 7), (8, 6), (16, 16)]


def both(size, kernel, stride, dilation):
    torch.manual_seed(0)
    x = torch.randn(2, 4, *size, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    theirs = F.conv2d(x, weight, None, stride, dilation * (kernel // 2), dilation, groups=4)
    return x, weight, depthwise(x, weight, stride, dilation), theirs


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel, stride, dilation", list(itertools.product((3, 5, 7), (1, 2), (1, 2))))
def test_output_and_gradients_equal_torchs(size, kernel, stride, dilation):
    x, weight, ours, theirs = both(size, kernel, stride, dilation)
    torch.testing.assert_close(ours, theirs)
    slope = torch.randn_like(theirs)
    found, wanted = (torch.autograd.grad(y, [x, weight], slope) for y in (ours, theirs))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size, kernel, stride, dilation", [((8, 8), 5, 1, 2), ((8, 8), 3, 1, 1), ((2, 2), 5, 2, 1)])
def test_second_derivatives_equal_torchs(size, kernel, stride, dilation):
    x, weight, ours, theirs = both(size, kernel, stride, dilation)
    found, wanted = (
        torch.autograd.grad(sum((g**2).sum() for g in first), [x, weight])
        for first in (torch.autograd.grad(y.sin().sum(), [x, weight], create_graph=True) for y in (ours, theirs))
    )
    torch.testing.assert_close(found, wanted)


def test_no_weight_gradient_is_made_where_none_is_asked_for():
    x, weight, _, _ = both((8, 8), 5, 1, 1)
    with torch.profiler.profile() as profile:
        depthwise(x, weight.detach()).sum().backward()
    assert "aten::convolution_backward" not in {event.key for event in profile.key_averages()}


def test_the_module_is_a_conv2d_with_its_initial_weights():
    torch.manual_seed(0)
    ours = DepthwiseConv(6, 5, 2)
    torch.manual_seed(0)
    theirs = torch.nn.Conv2d(6, 6, 5, 2, 2, groups=6, bias=False)
    x = torch.randn(2, 6, 8, 8)
    assert torch.equal(ours.weight, theirs.weight)
    torch.testing.assert_close(ours(x), theirs(x))
