"""Reports how likely the model found tokens: sampled ones, and those of a prompt."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from motet.engine.output import TokenLogprobs
from motet.engine.plan import PromptScores, Row

SLICE_ROWS = 64
"""Positions of prompts whose logits exist at a time: a long prompt takes no more memory."""


def is_finite(logits: Tensor) -> list[bool]:
    """Of each row: are all its logits finite?"""
    extremes = torch.stack((logits.amin(dim=-1), logits.amax(dim=-1)))  # both propagate NaN
    found: list[bool] = extremes.isfinite().all(dim=0).tolist()
    return found


def report(
    logprobs: Tensor, token_ids: Sequence[int], counts: Sequence[int]
) -> list[TokenLogprobs]:
    """Of one token in each row of `logprobs` (`[n, vocab]`), with as many of the most likely.

    A token that the model cannot put out, being beyond `vocab`, has probability 0.
    """
    ids = torch.tensor(token_ids, dtype=torch.int64, device=logprobs.device).unsqueeze(-1)
    last = logprobs.shape[-1] - 1
    own = logprobs.gather(-1, ids.clamp(max=last)).masked_fill_(ids > last, -torch.inf)
    best = _best(logprobs, max(counts, default=0))
    return [
        TokenLogprobs(logprob, top[:count])
        for logprob, top, count in zip(own.squeeze(-1).tolist(), best, counts, strict=True)
    ]


def score(
    logits_of: Callable[[slice], Tensor], first: int, rows: Sequence[Row]
) -> tuple[PromptScores, ...]:
    """Of the targets of each row, whose logits are asked for in the same order from `first` on."""
    targets = [row.targets for row in rows if row.targets is not None]
    tokens = [token for target in targets for token in target.tokens]
    counts = [target.num_logprobs for target in targets for _ in target.tokens]
    found: list[TokenLogprobs | None] = []
    for start in range(0, len(tokens), SLICE_ROWS):
        part = slice(start, min(start + SLICE_ROWS, len(tokens)))
        logits = logits_of(slice(first + part.start, first + part.stop))
        reports = report(logits.log_softmax(dim=-1), tokens[part], counts[part])
        found += [r if ok else None for r, ok in zip(reports, is_finite(logits), strict=True)]
    scores, start = [], 0
    for row, target in zip(rows, targets, strict=True):
        end = start + len(target.tokens)
        known = tuple(logprobs for logprobs in found[start:end] if logprobs is not None)
        is_whole = len(known) == end - start
        scores.append(PromptScores(row.request_id, known if is_whole else None))
        start = end
    return tuple(scores)


def _best(logprobs: Tensor, count: int) -> list[tuple[tuple[int, float], ...]]:
    """The `count` largest of each row, best first, lower ids first among equals."""
    if count == 0:
        return [()] * len(logprobs)
    top = logprobs.topk(min(count, logprobs.shape[-1]), dim=-1)
    smallest = top.values[:, -1:]
    ids, values = top.indices.tolist(), top.values.tolist()
    # Which of several that equal the last one are taken is left open: there, look at all of them.
    is_open = (logprobs >= smallest).sum(dim=-1) > top.values.shape[-1]
    for row in is_open.nonzero()[:, 0].tolist():
        candidates = (logprobs[row] >= smallest[row]).nonzero()[:, 0]
        ids[row], values[row] = candidates.tolist(), logprobs[row, candidates].tolist()
    ranked = (
        sorted(zip(*pair, strict=True), key=lambda pair: (-pair[1], pair[0]))
        for pair in zip(ids, values, strict=True)
    )
    return [tuple(pairs[:count]) for pairs in ranked]
