"""The token-hash model: a model whose every token depends on all memory that it should depend on.

The KV of position p is

    h(p) = H(h(p - 1) as read from the pool, token, p, checksum of the adapter's pages as read
             through this step's binding)

and the next token is H of all KV read through the page table, and of the row's history if it
has one; the logprob of a prompt token is H of the KV before it. A stale page, a page of another
sequence, a wrong tile, a lost or repeated write: each changes what follows. `expected_tokens` and
`expected_prompt_logprobs` say the same without any pool.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import chain

from motet.engine.output import TokenLogprobs

NO_ADAPTER = 0
"""Checksum of the base model."""


def adapter_page(digest: str, index: int, page_tokens: int) -> list[int]:
    """The host image of one page of an adapter."""
    seed = int.from_bytes(sha256(digest.encode()).digest()[:7])
    return [hash((seed, index, place)) for place in range(page_tokens)]


def expected_tokens(
    prompt: tuple[int, ...],
    digest: str | None,
    num_pages: int,
    page_tokens: int,
    vocab_size: int,
    *,
    has_penalties: bool = False,
) -> Iterator[int]:
    """The tokens that follow `prompt` on an adapter of `num_pages` pages, without end."""
    checksum = _checksum(digest, num_pages, page_tokens)
    kv: list[int] = []
    tokens = pending = list(prompt)
    while True:
        _extend(kv, pending, checksum)
        history = tuple(tokens) if has_penalties else ()
        pending = [next_token(tuple(kv), history, vocab_size)]
        tokens = tokens + pending
        yield pending[0]


def expected_prompt_logprobs(
    prompt: tuple[int, ...],
    digest: str | None,
    num_pages: int,
    page_tokens: int,
    vocab_size: int,
    num_logprobs: int,
) -> tuple[TokenLogprobs, ...]:
    """Those of the tokens from the second on."""
    kv: list[int] = []
    _extend(kv, prompt, _checksum(digest, num_pages, page_tokens))
    return tuple(
        logprobs(tuple(kv[:position]), prompt[position], num_logprobs, vocab_size)
        for position in range(1, len(prompt))
    )


def _checksum(digest: str | None, num_pages: int, page_tokens: int) -> int:
    """Of the adapter's pages, as `FakeExecutor.read_adapter` finds them."""
    if digest is None:
        return NO_ADAPTER
    pages = (adapter_page(digest, index, page_tokens) for index in range(num_pages))
    return hash(tuple(chain.from_iterable(pages)))


def _extend(kv: list[int], tokens: Iterable[int], checksum: int) -> None:
    for token in tokens:
        kv.append(kv_of(tuple(kv[-1:]), token, len(kv), checksum))


def kv_of(before: tuple[int, ...], token: int, position: int, checksum: int) -> int:
    return hash((before, token, position, checksum))


def next_token(kv: tuple[int, ...], history: tuple[int, ...], vocab_size: int) -> int:
    return hash((kv, history) if history else kv) % vocab_size


def logprobs(kv: tuple[int, ...], token: int, num_logprobs: int, vocab_size: int) -> TokenLogprobs:
    """Of a token that follows this KV, with as many others, best first."""
    state = hash(kv)
    others = [hash((state, rank)) % vocab_size for rank in range(num_logprobs)]
    top = [(other, _logprob(state, other)) for other in others]
    return TokenLogprobs(_logprob(state, token), tuple(sorted(top, key=lambda pair: -pair[1])))


def _logprob(state: int, token: int) -> float:
    return -(hash((state, token)) % 2**16) / 2**12
