"""Norms, gates and rotations, against the same in float64."""

import pytest
import torch

from tests.kernels.target import TOLERANCE, Target, assert_near

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
