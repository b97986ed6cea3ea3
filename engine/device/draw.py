"""Draws from adjusted logits: temperature, top-k, top-p, min-p, then the inverse of the CDF.

Each row draws one uniform number from a counter, not from a stream of random numbers, so what is
drawn depends on nothing but its logits and (seed, position, choice).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from motet.engine.request import SamplingParams

WINDOW = 1024
"""Most likely tokens that are looked at before all of them are sorted."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def choose(logits: Tensor, params: Sequence[SamplingParams], positions: Sequence[int]) -> Tensor:
    """A token id for each row, int64 `[n]`. Greedy takes the first of equal maxima.

    `logits` is fp32 `[n, vocab]`, where -inf is a token that cannot be drawn; at least one can be.
    `positions` count the tokens that were drawn for the row before.
    """
    token_ids = logits.argmax(dim=-1)
    drawn = [index for index, p in enumerate(params) if p.temperature > 0]
    if drawn:
        drawn_params = [params[index] for index in drawn]
        numbers = [uniform(params[i].seed, positions[i], params[i].choice) for i in drawn]
        token_ids[drawn] = _draw(logits[drawn], drawn_params, numbers)
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


def _draw(logits: Tensor, params: Sequence[SamplingParams], numbers: Sequence[float]) -> Tensor:
    """Inverse CDF in the order of token ids over the kept tokens; overwrites `logits`."""
    # A temperature below the smallest normal float would be flushed to 0 and give 0 / 0.
    tiny = torch.finfo(torch.float32).tiny
    temperature = _column((max(p.temperature, tiny) for p in params), logits)
    scaled = logits.sub_(logits.amax(dim=-1, keepdim=True)).div_(temperature)  # the largest is 0
    weights = scaled.exp()
    weights *= scaled >= _threshold(scaled, weights, params)
    cumulative = weights.cumsum(dim=-1, dtype=torch.float64)  # exact enough for any vocabulary
    drawn = _column(numbers, cumulative) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn, right=True).squeeze(-1)


def _threshold(scaled: Tensor, weights: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """The smallest kept value of each row, `[n, 1]`: tokens of equal value stay or go together.

    top-k comes first, top-p counts in what top-k left, and min-p asks for a share of the largest
    probability. `weights` is `scaled.exp()`.
    """
    threshold = _column((math.log(p.min_p) if p.min_p > 0 else -math.inf for p in params), scaled)
    vocab = scaled.shape[-1]
    ranked = [i for i, p in enumerate(params) if 0 < p.top_k < vocab or p.top_p < 1]
    if ranked:
        by_order = _order_threshold(scaled[ranked], weights[ranked], [params[i] for i in ranked])
        threshold[ranked] = torch.maximum(threshold[ranked], by_order)
    return threshold


def _order_threshold(scaled: Tensor, weights: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """The threshold of top-k and top-p: from the top of each row, from all of it if need be."""
    vocab = scaled.shape[-1]
    top = scaled.topk(min(WINDOW, vocab), dim=-1).values
    threshold, is_sure = _sorted_threshold(top, scaled, weights, params)
    unsure = (~is_sure).nonzero()[:, 0]
    if len(unsure):
        scaled, weights = scaled[unsure], weights[unsure]
        params = [params[i] for i in unsure.tolist()]
        top = scaled.sort(dim=-1, descending=True).values
        threshold[unsure], _ = _sorted_threshold(top, scaled, weights, params)
    return threshold


def _sorted_threshold(
    top: Tensor, scaled: Tensor, weights: Tensor, params: Sequence[SamplingParams]
) -> tuple[Tensor, Tensor]:
    """The threshold of each row and whether it is sure, `[n, 1]` and `[n]`.

    `top` holds the largest values of `scaled` in falling order. They suffice when they reach as
    far as top-k counts and hold the mass that top-p wants.
    """
    vocab, window = scaled.shape[-1], top.shape[-1]
    top_k = torch.tensor([[min(p.top_k or vocab, vocab)] for p in params], device=top.device)
    has_top_k, has_top_p = top_k < vocab, _column((p.top_p for p in params), top) < 1
    by_rank = top.gather(-1, top_k.clamp(max=window) - 1).masked_fill_(~has_top_k, -torch.inf)

    mass = top.exp().cumsum(dim=-1, dtype=torch.float64)  # no nucleus reaches beyond by_rank
    total = (weights * (scaled >= by_rank)).sum(-1, keepdim=True, dtype=torch.float64)
    wanted = _column((p.top_p for p in params), total) * total
    # The nucleus is the shortest head of the order that holds at least top_p of the mass.
    head = torch.searchsorted(mass, wanted).clamp_(max=window - 1)
    by_mass = top.gather(-1, head).masked_fill_(~has_top_p, -torch.inf)

    reaches_rank = ~has_top_k | (top_k <= window)
    holds_mass = ~has_top_p | (mass[:, -1:] >= wanted)
    is_sure = (reaches_rank & holds_mass) | (window == vocab)
    return torch.maximum(by_rank, by_mass), is_sure.squeeze(-1)


def _column(values: Iterable[float], like: Tensor) -> Tensor:
    """One value for each row, `[n, 1]`, in the dtype and on the device of `like`."""
    return torch.tensor(list(values), dtype=like.dtype, device=like.device).unsqueeze(-1)
