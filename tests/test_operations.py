"""Operations against the parameter formulas of the papers and the definitions of their forward passes."""

import pytest
import torch
from torch import nn

from nascore import genotypes
from nascore.errors import UserError
from nascore.nets.operations import FactorizedReduce, ResidualBlock, build, register

# Trainable parameters at C -> C, stride 1, affine (DARTS, table of operations; PNAS, table of eight).
FORMULAS = {
    "none": lambda c: 0,
    "skip_connect": lambda c: 0,
    "avg_pool_3x3": lambda c: 0,
    "conv_7x1_1x7": lambda c: 14 * c * c + 2 * c,
    "conv_3x1_1x3": lambda c: 6 * c * c + 2 * c,
    "full_dil_conv_3x3": lambda c: 9 * c * c + 2 * c,
    **{f"max_pool_{k}x{k}": lambda c: 0 for k in (3, 5, 7)},
    **{f"sep_conv_{k}x{k}": lambda c, k=k: 2 * (k * k * c + c * c + 2 * c) for k in (3, 5, 7)},
    **{f"dil_conv_{k}x{k}": lambda c, k=k: k * k * c + c * c + 2 * c for k in (3, 5)},
    **{f"conv_{k}x{k}": lambda c, k=k: k * k * c * c + 2 * c for k in (1, 3, 5)},
    **{f"nor_conv_{k}x{k}": lambda c, k=k: k * k * c * c + 2 * c for k in (1, 3)},
}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_name_of_the_contract_can_be_built():
    assert set(FORMULAS) == set(genotypes.OPERATIONS)


@pytest.mark.parametrize("name", FORMULAS)
def test_an_operation_keeps_or_halves_the_map_and_has_the_papers_parameters(name):
    x = torch.randn(2, 16, 8, 12)
    before = x.clone()
    assert count(build(name, 16, 16)) == FORMULAS[name](16)
    assert build(name, 16, 16, 1)(x).shape == (2, 16, 8, 12)
    assert build(name, 16, 16, 2)(x).shape == (2, 16, 4, 6)
    assert build(name, 16, 24, 1)(x).shape == (2, 24, 8, 12)
    assert build(name, 16, 24, 2)(x).shape == (2, 24, 4, 6)
    assert torch.equal(x, before)  # no ReLU in place
    batch_norms = [m for m in build(name, 16, 16, 2, affine=False).modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(m.affine for m in batch_norms)


def test_one_mixed_edge_of_the_search_has_the_published_size():
    darts = "none max_pool_3x3 avg_pool_3x3 skip_connect sep_conv_3x3 sep_conv_5x5 dil_conv_3x3 dil_conv_5x5".split()
    sizes = [count(build(name, 16, 16, 1, affine=False)) for name in darts]
    assert sizes == [0, 0, 0, 0, 800, 1_312, 400, 656] and sum(sizes) == 3_168
    assert sum(count(build(name, 32, 32, 2, affine=False)) for name in darts) == 10_432
    pnas = "sep_conv_3x3 sep_conv_5x5 sep_conv_7x7 conv_7x1_1x7 full_dil_conv_3x3 dil_conv_3x3".split()
    assert [count(build(name, 24, 24)) for name in pnas] == [1_680, 2_448, 3_600, 8_112, 5_232, 840]


def test_average_pooling_does_not_count_the_padding():
    assert torch.equal(build("avg_pool_3x3", 1, 1)(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_none_gives_zeros_even_for_what_is_not_a_number():
    x = torch.full((2, 3, 4, 4), float("nan"))
    assert torch.equal(build("none", 3, 3, 2)(x), torch.zeros(2, 3, 2, 2))


def test_dilation_reaches_two_pixels_further():
    dilated = build("dil_conv_5x5", 1, 1)[1]
    nn.init.ones_(dilated.weight)
    x = torch.zeros(1, 1, 11, 11)
    x[0, 0, 5, 5] = 1
    assert dilated(x)[0, 0, 5].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_factorized_reduction_reads_one_diagonal_pixel_in_each_half():
    reduce = FactorizedReduce(16, 16)
    assert count(reduce) == 16 * 16 + 2 * 16
    reduce.norm = nn.Identity()
    reached = {}
    for row in (2, 3):
        for column in (2, 3):
            x = torch.zeros(1, 16, 8, 8)
            x[0, :, row, column] = 1
            hit = reduce(x)[0].abs().sum((1, 2)) > 0
            reached[row % 2, column % 2] = (bool(hit[:8].any()), bool(hit[8:].any()))
    expected = {(0, 0): (True, False), (1, 1): (False, True), (0, 1): (False, False), (1, 0): (False, False)}
    assert reached == expected


def test_factorized_reduction_halves_odd_maps_upwards_as_if_zeros_followed():
    reduce = FactorizedReduce(4, 6).eval()
    odd, padded = torch.randn(2, 4, 7, 4), torch.zeros(2, 4, 8, 4)
    padded[:, :, :7] = odd
    assert reduce(odd).shape == (2, 6, 4, 2) and torch.equal(reduce(odd), reduce(padded))
    assert reduce(torch.ones(1, 4, 1, 1)).shape == (1, 6, 1, 1)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_a_separable_convolution_of_unequal_widths_changes_them_in_the_first_of_its_two(size):
    first, second = 24 * size * size + 24 * 16 + 2 * 16, 16 * size * size + 16 * 16 + 2 * 16
    assert count(build(f"sep_conv_{size}x{size}", 24, 16)) == first + second


def test_residual_block_is_two_convolutions_beside_a_pooled_shortcut():
    block = ResidualBlock(16, 32)
    assert count(block) == 9 * 16 * 32 + 64 + 9 * 32 * 32 + 64 + 16 * 32
    assert block(torch.randn(2, 16, 8, 8)).shape == (2, 32, 4, 4)


@pytest.mark.parametrize(
    ("attempt", "line"),
    [
        (lambda: build("conv_9x9", 4, 4), "operation: found 'conv_9x9', allowed: avg_pool_3x3, conv_1x1"),
        (lambda: build("skip_connect", 1, 1, 2), "channels: found 1, allowed: 2 or more where a map is halved"),
        (lambda: register("my op", nn.Identity), "operation name: found 'my op'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(attempt, line):
    with pytest.raises(UserError) as caught:
        attempt()
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_users_own_operation_is_a_name_like_any_other(open_table):
    register("scale_shift", lambda c_in, c_out, stride, affine=True: nn.Conv2d(c_in, c_out, 1, stride))
    assert genotypes.Node((0,), ("scale_shift",)).ops == ("scale_shift",)
    assert count(build("scale_shift", 4, 4)) == 20


def test_the_names_are_an_open_set(open_table):
    assert isinstance(genotypes.OPERATIONS, set)
    genotypes.OPERATIONS.add("no_module_yet")
    assert genotypes.Node((0,), ("no_module_yet",)).ops == ("no_module_yet",)
    with pytest.raises(UserError, match="operation: found 'no_module_yet', allowed: avg_pool_3x3, "):
        build("no_module_yet", 4, 4)
