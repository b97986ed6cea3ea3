"""Asks the kernels for the tokens that requests want, and gives them the numbers they draw by.

Each row draws one uniform number from a counter, not from a stream of random numbers, so what is
drawn depends on nothing but its logits and (seed, position, choice).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from motet.engine.request import SamplingParams
from motet.kernels import DrawBatch, DrawKernels

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def choose(
    kernels: DrawKernels, logits: Tensor, params: Sequence[SamplingParams], positions: Sequence[int]
) -> Tensor:
    """A token id for each row, int64 `[n]`. Greedy takes the first of equal maxima.

    `logits` is fp32 `[n, vocab]`, where -inf is a token that cannot be drawn; at least one can be.
    `positions` count the tokens that were drawn for the row before.
    """
    token_ids = torch.empty(len(params), dtype=torch.int64, device=logits.device)
    kernels.draw(token_ids, logits, _draw_batch(params, positions, logits.device))
    return token_ids


def uniform(seed: int, position: int, choice: int = 0) -> float:
    """A number in [0, 1): the top 53 bits of three chained rounds of SplitMix64.

    SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) adds
    the golden ratio to its state, then mixes; here each input is added to the state as well.
    """
    state = 0
    for value in (seed, position, choice):
        state = _mix((state + value + _GOLDEN) & _MASK)
    return (state >> 11) * 2.0**-53


def _mix(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def _draw_batch(
    params: Sequence[SamplingParams], positions: Sequence[int], device: torch.device
) -> DrawBatch:
    def column(values: Iterable[float], dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.tensor(list(values), dtype=dtype, device=device)

    return DrawBatch(
        temperature=column(p.temperature for p in params),
        top_k=column((p.top_k for p in params), torch.int64),
        top_p=column(p.top_p for p in params),
        min_p=column(p.min_p for p in params),
        number=column(
            uniform(p.seed, position, p.choice) if p.temperature > 0 else 0.0
            for p, position in zip(params, positions, strict=True)
        ),
    )
