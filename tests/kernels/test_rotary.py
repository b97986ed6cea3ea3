"""Turned queries and keys against float64, and what is written to which place of which page."""

import pytest
import torch
from torch import Tensor

from motet.kernels import load_kernels, reference
from tests.kernels.arena import Arena, a_layout
from tests.kernels.batches import LAYER
from tests.kernels.target import TOLERANCE, Target, assert_near, bits

GROUP = "attention"

NUM_KV_HEADS = 2
PAGE_TOKENS = 4

HEAD_DIMS = (2, 16, 24, 80, 130, 256)
"""Halves that vectors divide and halves that they do not."""


def an_arena(target: Target, head_dim: int) -> Arena:
    return Arena(target, a_layout(target, PAGE_TOKENS, head_dim), num_pages=20)


def some_turns(target: Target, num_tokens: int, head_dim: int) -> tuple[Tensor, Tensor]:
    angles = 3 * torch.randn(num_tokens, head_dim // 2)
    cos, sin = angles.cos().to(target.dtype), angles.sin().to(target.dtype)
    return cos.to(target.device), sin.to(target.device)


def some_indices(target: Target, num_tokens: int) -> Tensor:
    indices = torch.randperm(20 * PAGE_TOKENS)[:num_tokens].tolist()
    return target.ints(indices, torch.int64)


def turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same as a product of complex numbers."""
    first, second = heads.double().chunk(2, dim=-1)
    turn = torch.complex(cos.double(), sin.double()).unsqueeze(1)
    product = torch.complex(first, second) * turn
    return torch.cat((product.real, product.imag), dim=-1)


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
@pytest.mark.parametrize("num_heads", [0, 1, 6])
def test_queries_and_keys_are_turned_and_values_are_not(
    target: Target, head_dim: int, num_heads: int
) -> None:
    arena = an_arena(target, head_dim)
    heads = target.randn(5, num_heads + 2 * NUM_KV_HEADS, head_dim)
    cos, sin = some_turns(target, 5, head_dim)
    num_turned = num_heads + NUM_KV_HEADS
    expected, values = turned(heads[:, :num_turned], cos, sin), heads[:, num_turned:].clone()

    target.kernels.rotate_and_write_kv(
        heads, num_heads, cos, sin, arena.kv, LAYER, some_indices(target, 5)
    )

    assert_near(heads[:, :num_turned], expected, TOLERANCE[target.dtype])
    assert torch.equal(heads[:, num_turned:], values)


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_turned_keys_and_values_are_written_to_their_places_only(
    target: Target, head_dim: int
) -> None:
    arena = an_arena(target, head_dim)
    heads = target.randn(7, 3 + 2 * NUM_KV_HEADS, head_dim)
    indices, before = some_indices(target, 7), arena.kv.clone()

    target.kernels.rotate_and_write_kv(
        heads, 3, *some_turns(target, 7, head_dim), arena.kv, LAYER, indices
    )

    key, value = heads[:, 3:].chunk(2, dim=1)
    for token, index in enumerate(indices.tolist()):
        place = before[index // PAGE_TOKENS, LAYER, :, index % PAGE_TOKENS]
        place[0], place[1] = key[token], value[token]
    assert torch.equal(bits(arena.kv), bits(before))


def test_heads_may_be_part_of_a_wider_tensor(target: Target) -> None:
    arena = an_arena(target, head_dim=24)
    wide = target.randn(40, 9, 40)
    untouched, heads = wide.clone(), wide[:, 1:8, 8:32]
    cos, sin = some_turns(target, 40, 24)
    expected = turned(heads[:, :5], cos, sin)

    target.kernels.rotate_and_write_kv(
        heads, 3, cos, sin, arena.kv, LAYER, some_indices(target, 40)
    )

    assert_near(heads[:, :5], expected, TOLERANCE[target.dtype])
    untouched[:, 1:6, 8:32] = heads[:, :5]
    assert torch.equal(wide, untouched)


def test_no_token_turns_and_writes_nothing(target: Target) -> None:
    arena = an_arena(target, head_dim=16)
    before, heads = bits(arena.kv), target.randn(0, 6, 16)
    turns = some_turns(target, 0, 16)

    target.kernels.rotate_and_write_kv(
        heads, 2, *turns, arena.kv, LAYER, target.ints([], torch.int64)
    )

    assert torch.equal(bits(arena.kv), before)


@pytest.mark.parametrize("head_dim", [64, 80])
def test_the_native_turn_rounds_as_the_reference_does(dtype: torch.dtype, head_dim: int) -> None:
    """In float32 a fused multiply-add leaves out one rounding, which halves have made before."""
    target = Target(load_kernels("cpu"), torch.device("cpu"), dtype)
    arena = an_arena(target, head_dim)
    heads, indices = target.randn(60, 12, head_dim), some_indices(target, 60)
    expected, turns = heads.clone(), some_turns(target, 60, head_dim)

    reference.rotate_and_write_kv(expected, 8, *turns, arena.kv, LAYER, indices)
    target.kernels.rotate_and_write_kv(heads, 8, *turns, arena.kv, LAYER, indices)

    torch.testing.assert_close(heads, expected, rtol=0, atol=1e-6 if dtype.itemsize == 4 else 0)
