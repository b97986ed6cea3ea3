"""Draws tokens from logits: temperature, top-k, top-p, min-p, then the inverse of the CDF."""

import torch
from torch import Tensor

from motet.kernels import DrawBatch

WINDOW = 1024
"""Most likely tokens that are looked at before all of them are sorted."""


def draw(token_ids: Tensor, logits: Tensor, batch: DrawBatch) -> None:
    torch.argmax(logits, dim=-1, out=token_ids)
    drawn = (batch.temperature > 0).nonzero()[:, 0]
    if len(drawn):
        token_ids[drawn] = _draw(logits[drawn], _rows(batch, drawn))


def _rows(batch: DrawBatch, index: Tensor) -> DrawBatch:
    return DrawBatch(
        temperature=batch.temperature[index],
        top_k=batch.top_k[index],
        top_p=batch.top_p[index],
        min_p=batch.min_p[index],
        number=batch.number[index],
    )


def _draw(logits: Tensor, batch: DrawBatch) -> Tensor:
    """Inverse CDF in the order of token ids over the kept tokens; overwrites `logits`."""
    # A temperature below the smallest normal float would be flushed to 0 and give 0 / 0.
    temperature = batch.temperature.clamp(min=torch.finfo(torch.float32).tiny).float()
    scaled = logits.sub_(logits.amax(dim=-1, keepdim=True))  # the largest is 0
    scaled /= temperature[:, None]
    weights = scaled.exp()
    weights *= scaled >= _threshold(scaled, weights, batch)
    cumulative = weights.cumsum(dim=-1, dtype=torch.float64)  # exact enough for any vocabulary
    drawn = batch.number[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn, right=True).squeeze(-1)


def _threshold(scaled: Tensor, weights: Tensor, batch: DrawBatch) -> Tensor:
    """The smallest kept value of each row, `[n, 1]`. `weights` is `scaled.exp()`."""
    threshold = batch.min_p.log().to(scaled.dtype)[:, None]
    has_top_k = (batch.top_k > 0) & (batch.top_k < scaled.shape[-1])
    ranked = (has_top_k | (batch.top_p < 1)).nonzero()[:, 0]
    if len(ranked):
        by_order = _order_threshold(scaled[ranked], weights[ranked], _rows(batch, ranked))
        threshold[ranked] = torch.maximum(threshold[ranked], by_order)
    return threshold


def _order_threshold(scaled: Tensor, weights: Tensor, batch: DrawBatch) -> Tensor:
    """The threshold of top-k and top-p: from the top of each row, from all of it if need be."""
    top = scaled.topk(min(WINDOW, scaled.shape[-1]), dim=-1).values
    threshold, is_sure = _sorted_threshold(top, scaled, weights, batch)
    unsure = (~is_sure).nonzero()[:, 0]
    if len(unsure):
        scaled, weights = scaled[unsure], weights[unsure]
        top = scaled.sort(dim=-1, descending=True).values
        threshold[unsure], _ = _sorted_threshold(top, scaled, weights, _rows(batch, unsure))
    return threshold


def _sorted_threshold(
    top: Tensor, scaled: Tensor, weights: Tensor, batch: DrawBatch
) -> tuple[Tensor, Tensor]:
    """The threshold of each row and whether it is sure, `[n, 1]` and `[n]`.

    `top` holds the largest values of `scaled` in falling order. They suffice when they reach as
    far as top-k counts and hold the mass that top-p wants.
    """
    vocab, window = scaled.shape[-1], top.shape[-1]
    top_k, top_p = batch.top_k[:, None], batch.top_p[:, None]
    has_top_k, has_top_p = (top_k > 0) & (top_k < vocab), top_p < 1
    rank = top_k.clamp(1, window) - 1
    by_rank = top.gather(-1, rank).masked_fill_(~has_top_k, -torch.inf)

    mass = top.exp().cumsum(dim=-1, dtype=torch.float64)  # no nucleus reaches beyond by_rank
    total = (weights * (scaled >= by_rank)).sum(-1, keepdim=True, dtype=torch.float64)
    wanted = top_p * total
    # The nucleus is the shortest head of the order that holds at least top_p of the mass.
    head = torch.searchsorted(mass, wanted).clamp_(max=window - 1)
    by_mass = top.gather(-1, head).masked_fill_(~has_top_p, -torch.inf)

    reaches_rank = ~has_top_k | (top_k <= window)
    holds_mass = ~has_top_p | (mass[:, -1:] >= wanted)
    is_sure = (reaches_rank & holds_mass) | (window == vocab)
    return torch.maximum(by_rank, by_mass), is_sure.squeeze(-1)
