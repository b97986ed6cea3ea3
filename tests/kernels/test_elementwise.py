"""Norms and gates, against the same in float64."""

import pytest
import torch
from torch import Tensor

from motet.kernels import load_kernels
from tests.kernels.target import TOLERANCE, Target, assert_near

GROUP = "elementwise"

SHAPES = [(1, 8), (3, 1), (5, 37), (33, 2816)]
"""Rows and width; widths that no vector divides, and rows that several threads share."""


@pytest.mark.parametrize(("num_tokens", "width"), SHAPES)
def test_a_gate_is_silu_times_up(target: Target, num_tokens: int, width: int) -> None:
    gate_up = 4 * target.randn(num_tokens, 2 * width)
    out = target.randn(num_tokens, width)
    gate, up = gate_up.double().chunk(2, dim=-1)

    target.kernels.silu_mul(out, gate_up)

    assert_near(out, torch.nn.functional.silu(gate) * up, 2 * TOLERANCE[target.dtype])


@pytest.mark.parametrize("gate", [-6e4, -200.0, -88.0, 0.0, 88.0, 200.0, 6e4])
def test_a_gate_far_from_zero_is_closed_or_open(target: Target, gate: float) -> None:
    gate_up = target.randn(1, 2)
    gate_up[0, 0] = gate
    out = target.randn(1, 1)
    expected = torch.nn.functional.silu(gate_up[:, :1].double()) * gate_up[:, 1:].double()

    target.kernels.silu_mul(out, gate_up)

    assert_near(out, expected.to(target.dtype), TOLERANCE[target.dtype])


@pytest.mark.parametrize("gate", [-80.0, -20.0, -1.0, 1e-3, 1.0, 20.0, 80.0])
def test_a_gate_is_exact_to_the_last_bits_of_its_dtype(target: Target, gate: float) -> None:
    """Relative to each value, however small: the exponential must not lose its tail."""
    gate_up = (gate * (1 + torch.rand(1, 1000) / 16)).to(target.dtype).to(target.device)
    gate_up = torch.cat((gate_up, torch.ones_like(gate_up)), dim=1)
    out = target.randn(1, 1000)
    expected = torch.nn.functional.silu(gate_up[:, :1000].double())

    target.kernels.silu_mul(out, gate_up)

    tiny = torch.finfo(target.dtype).tiny  # below it numbers lose bits
    bound = {torch.float32: 4e-7}.get(target.dtype, TOLERANCE[target.dtype])
    torch.testing.assert_close(out.double(), expected, rtol=bound, atol=tiny)


EPSILON = 1e-5


def normed(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.double()
    scale = (wide.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    return weight.double() * wide * scale


@pytest.mark.parametrize(("num_tokens", "width"), SHAPES)
def test_a_norm_is_weight_times_x_over_its_root_mean_square(
    target: Target, num_tokens: int, width: int
) -> None:
    x, weight = 3 * target.randn(num_tokens, width), target.randn(width)
    out, before = target.randn(num_tokens, width), x.clone()

    target.kernels.add_rms_norm(out, x, None, weight, EPSILON)

    assert torch.equal(x, before)
    assert_near(out, normed(x, weight), TOLERANCE[target.dtype])


@pytest.mark.parametrize(("num_tokens", "width"), SHAPES)
def test_a_norm_is_of_the_rounded_sum_which_stays_in_x(
    target: Target, num_tokens: int, width: int
) -> None:
    x, delta = target.randn(num_tokens, width), target.randn(num_tokens, width)
    weight, out = target.randn(width), target.randn(num_tokens, width)
    total = x + delta

    target.kernels.add_rms_norm(out, x, delta, weight, EPSILON)

    assert torch.equal(x, total)
    assert_near(out, normed(total, weight), TOLERANCE[target.dtype])


def test_a_norm_is_rounded_before_the_weight(target: Target) -> None:
    x, weight = target.randn(40, 64), target.randn(64)
    scale = (x.float().square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    expected, out = weight * (x.float() * scale).to(x.dtype), torch.empty_like(x)

    target.kernels.add_rms_norm(out, x, None, weight, EPSILON)

    is_equal = (out - expected).abs() <= 1e-6 * expected.abs()
    assert is_equal.double().mean() > 0.99  # the scale may differ by its last bit


@pytest.mark.parametrize("size", [16, 21])
def test_a_norm_of_some_heads_in_place_leaves_the_others(target: Target, size: int) -> None:
    fused, weight = target.randn(70, 9, size), target.randn(size)
    before, expected = fused.clone(), normed(fused[:, 2:6], weight)
    heads = fused[:, 2:6]

    target.kernels.add_rms_norm(heads, heads, None, weight, EPSILON)

    assert_near(fused[:, 2:6], expected, TOLERANCE[target.dtype])
    assert torch.equal(fused[:, :2], before[:, :2])
    assert torch.equal(fused[:, 6:], before[:, 6:])


def test_x_and_out_of_a_norm_may_lie_apart_differently(target: Target) -> None:
    x, out = target.randn(5, 7, 24)[:, 1:4], target.randn(5, 3, 32)[..., :24]
    delta, weight = target.randn(5, 3, 24), target.randn(24)
    total = x + delta

    target.kernels.add_rms_norm(out, x, delta, weight, EPSILON)

    assert torch.equal(x, total)
    assert_near(out, normed(total, weight), TOLERANCE[target.dtype])


def test_rows_of_a_wider_tensor_are_normed_alone(target: Target) -> None:
    wide, weight = target.randn(6, 50), target.randn(30)
    before, x = wide.clone(), wide[:, 10:40]

    target.kernels.add_rms_norm(x, x, None, weight, EPSILON)

    assert_near(x, normed(before[:, 10:40], weight), TOLERANCE[target.dtype])
    assert torch.equal(wide[:, :10], before[:, :10])
    assert torch.equal(wide[:, 40:], before[:, 40:])


@pytest.mark.parametrize("size", [24, 1030])
def test_a_row_is_normed_alone_as_among_others(dtype: torch.dtype, size: int) -> None:
    target = Target(load_kernels("cpu"), torch.device("cpu"), dtype)
    x, delta, weight = target.randn(100, size), target.randn(100, size), target.randn(size)
    together, alone = torch.empty_like(x), torch.empty_like(x)

    for i in range(100):
        row = slice(i, i + 1)
        target.kernels.add_rms_norm(alone[row], x[row].clone(), delta[row], weight, EPSILON)
    target.kernels.add_rms_norm(together, x, delta, weight, EPSILON)

    assert torch.equal(together, alone)


def test_a_norm_of_no_rows_is_nothing(target: Target) -> None:
    x = target.randn(0, 16)

    target.kernels.add_rms_norm(x, x, x.clone(), target.randn(16), EPSILON)
