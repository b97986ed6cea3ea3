"""Chooses tokens: what the model says is noted for the report, adjusted, then drawn from."""

from collections.abc import Sequence

from torch import Tensor

from motet.engine.device.adjust import adjust
from motet.engine.device.draw import choose
from motet.engine.device.logprobs import is_finite, report
from motet.engine.output import TokenLogprobs
from motet.engine.plan import Row, SampledToken
from motet.engine.request import SamplingParams
from motet.kernels import DrawKernels


def sample(kernels: DrawKernels, logits: Tensor, rows: Sequence[Row]) -> tuple[SampledToken, ...]:
    """The next token of each row. `logits` is fp32 `[len(rows), vocab]` and is overwritten.

    Log probabilities are those of the model: before penalties, biases, masks, temperature and
    filters. Equal logits and equal seeds give equal tokens, whoever shares the batch.
    """
    params = [_params(row) for row in rows]
    finite = is_finite(logits)
    reported = [i for i, p in enumerate(params) if p.num_logprobs is not None and finite[i]]
    logprobs = logits[reported].log_softmax(dim=-1)
    adjust(logits, rows, params)
    positions = [row.num_generated for row in rows]
    token_ids = choose(kernels, logits, params, positions).tolist()
    counts = [params[i].num_logprobs or 0 for i in reported]
    reports = dict(
        zip(reported, report(logprobs, [token_ids[i] for i in reported], counts), strict=True)
    )
    return tuple(
        _sampled(row, token_ids[i] if finite[i] else None, reports.get(i))
        for i, row in enumerate(rows)
    )


def _sampled(row: Row, token_id: int | None, report: TokenLogprobs | None) -> SampledToken:
    if report is None:
        return SampledToken(row.request_id, token_id)
    return SampledToken(row.request_id, token_id, report.logprob, report.top)


def _params(row: Row) -> SamplingParams:
    assert row.sampling is not None
    return row.sampling
