"""An executor without a model: an exact oracle for memory, on a virtual clock.

The token-hash model. The KV slot of position p holds

    h(p) = H(h(p - 1) as read from the pool, token, p, checksum of the adapter's pages as read
             through this step's binding)

and the next token is H of all slots read through the page table, and of the row's history if it
has one; the logprob of a prompt token is H of the slots before it. A stale page, a page of another
sequence, a wrong tile, a lost or repeated write: each changes what follows. `expected_tokens` and
`expected_prompt_logprobs` say the same without any pool.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

from motet.engine.output import TokenLogprobs
from motet.engine.plan import (
    BASE_SLOT,
    AdapterBinding,
    AdapterLoad,
    PromptScores,
    Row,
    SampledToken,
    StepPlan,
    StepResult,
)
from motet.memory.page import PageId

POISON = -1
"""What every slot of a page holds that nobody owns."""

NO_ADAPTER = 0


@dataclass(slots=True)
class VirtualClock:
    """Seconds that pass only when somebody says so."""

    now: float = 0.0


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a step takes, in seconds."""

    base_s: float = 0.01
    token_s: float = 0.0001
    page_copy_s: float = 0.0002

    def seconds(self, plan: StepPlan) -> float:
        num_tokens = sum(len(row.tokens) for row in plan.batch.rows)
        num_copied = sum(len(load.pages) for load in plan.transfers)
        return self.base_s + num_tokens * self.token_s + num_copied * self.page_copy_s


class FakeExecutor:
    """Runs plans on the token-hash model.

    Loads complete `load_steps` steps after the one that starts them, as on a device whose copies
    run beside the computation; until then their pages hold poison.
    """

    def __init__(
        self,
        num_pages: int,
        page_tokens: int,
        vocab_size: int,
        clock: VirtualClock,
        cost: StepCost,
        load_steps: int = 0,
    ) -> None:
        self.page_tokens = page_tokens
        self.vocab_size = vocab_size
        self.pages = [[POISON] * page_tokens for _ in range(num_pages)]
        self._clock = clock
        self._cost = cost
        self._load_steps = load_steps
        self._loading: list[tuple[int, AdapterLoad]] = []  # (steps to go, load)

    def execute(self, plan: StepPlan) -> StepResult:
        self._clock.now += self._cost.seconds(plan)
        for page in plan.released:
            self.pages[page] = [POISON] * self.page_tokens
        self._loading += [(self._load_steps, load) for load in plan.transfers]
        loaded = self._advance_loads(is_waiting=not plan.batch.rows)
        checksums = {BASE_SLOT: NO_ADAPTER}
        checksums |= {binding.slot: self.read_adapter(binding) for binding in plan.batch.adapters}
        tokens = [self._run(row, checksums[row.slot]) for row in plan.batch.rows]
        scores = [self._score(row) for row in plan.batch.rows]
        return StepResult(
            step=plan.step,
            tokens=tuple(token for token in tokens if token),
            loaded=loaded,
            scores=tuple(score for score in scores if score),
        )

    def read_adapter(self, binding: AdapterBinding) -> int:
        """Checksum of the adapter as it lies in the pages it is bound to."""
        return hash(tuple(chain.from_iterable(self.pages[page] for page in binding.pages)))

    def write(self, pages: tuple[PageId, ...], position: int, value: int) -> None:
        self.pages[pages[position // self.page_tokens]][position % self.page_tokens] = value

    def read(self, pages: tuple[PageId, ...], start: int, end: int) -> tuple[int, ...]:
        """The slots of positions start..end."""
        first = start // self.page_tokens
        skipped = first * self.page_tokens
        last = -(-end // self.page_tokens)
        slots = chain.from_iterable(self.pages[page] for page in pages[first:last])
        return tuple(slots)[start - skipped : end - skipped]

    def _run(self, row: Row, checksum: int) -> SampledToken | None:
        for position, token in enumerate(row.tokens, start=row.start):
            before = self.read(row.pages, position - 1, position) if position else ()
            self.write(row.pages, position, _slot(before, token, position, checksum))
        if row.sampling is None:
            return None
        slots = self.read(row.pages, 0, row.end)
        return SampledToken(row.request_id, _next(slots, row.history, self.vocab_size))

    def _score(self, row: Row) -> PromptScores | None:
        if row.targets is None:
            return None
        slots, start = self.read(row.pages, 0, row.end), row.targets.start
        logprobs = tuple(
            _logprobs(slots[:position], token, row.targets.num_logprobs, self.vocab_size)
            for position, token in enumerate(row.targets.tokens, start)
        )
        return PromptScores(row.request_id, logprobs)

    def _advance_loads(self, *, is_waiting: bool) -> tuple[str, ...]:
        if is_waiting and self._loading:  # nothing else to do: wait for the first one
            self._loading[0] = (0, self._loading[0][1])
        due = [load for steps, load in self._loading if steps == 0]
        self._loading = [(steps - 1, load) for steps, load in self._loading if steps > 0]
        for load in due:
            for index, page in enumerate(load.pages):
                self.pages[page] = adapter_page(load.digest, index, self.page_tokens)
        return tuple(load.digest for load in due)


def adapter_page(digest: str, index: int, page_tokens: int) -> list[int]:
    """The host image of one page of an adapter."""
    seed = int.from_bytes(sha256(digest.encode()).digest()[:7])
    return [hash((seed, index, slot)) for slot in range(page_tokens)]


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
    slots: list[int] = []
    tokens = pending = list(prompt)
    while True:
        _extend(slots, pending, checksum)
        history = tuple(tokens) if has_penalties else ()
        pending = [_next(tuple(slots), history, vocab_size)]
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
    slots: list[int] = []
    _extend(slots, prompt, _checksum(digest, num_pages, page_tokens))
    return tuple(
        _logprobs(tuple(slots[:position]), prompt[position], num_logprobs, vocab_size)
        for position in range(1, len(prompt))
    )


def _checksum(digest: str | None, num_pages: int, page_tokens: int) -> int:
    """Of the adapter's pages, as `FakeExecutor.read_adapter` finds them."""
    if digest is None:
        return NO_ADAPTER
    pages = (adapter_page(digest, index, page_tokens) for index in range(num_pages))
    return hash(tuple(chain.from_iterable(pages)))


def _extend(slots: list[int], tokens: Iterable[int], checksum: int) -> None:
    for token in tokens:
        slots.append(_slot(tuple(slots[-1:]), token, len(slots), checksum))


def _slot(before: tuple[int, ...], token: int, position: int, checksum: int) -> int:
    return hash((before, token, position, checksum))


def _next(slots: tuple[int, ...], history: tuple[int, ...], vocab_size: int) -> int:
    return hash((slots, history) if history else slots) % vocab_size


def _logprobs(
    slots: tuple[int, ...], token: int, num_logprobs: int, vocab_size: int
) -> TokenLogprobs:
    """Of a token that follows the slots, with as many others, best first."""
    state = hash(slots)
    others = [hash((state, rank)) % vocab_size for rank in range(num_logprobs)]
    top = [(other, _logprob(state, other)) for other in others]
    return TokenLogprobs(_logprob(state, token), tuple(sorted(top, key=lambda pair: -pair[1])))


def _logprob(state: int, token: int) -> float:
    return -(hash((state, token)) % 2**16) / 2**12
