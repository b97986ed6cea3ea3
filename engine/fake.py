"""An executor without a model: an exact oracle for memory, on a virtual clock.

The token-hash model. The KV slot of position p holds

    h(p) = H(h(p - 1) as read from the pool, token, p, checksum of the adapter's pages as read
             through this step's binding)

and the next token is H of all slots read through the page table. A stale page, a page of another
sequence, a wrong tile, a lost or repeated write: each changes the tokens that follow.
`expected_tokens` says the same without any pool.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

from motet.engine.plan import (
    BASE_SLOT,
    AdapterBinding,
    AdapterLoad,
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
        return StepResult(plan.step, tuple(token for token in tokens if token), loaded)

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
        return SampledToken(row.request_id, _next(slots, self.vocab_size))

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
    prompt: tuple[int, ...], digest: str | None, num_pages: int, page_tokens: int, vocab_size: int
) -> Iterator[int]:
    """The tokens that follow `prompt` on an adapter of `num_pages` pages, without end."""
    checksum = NO_ADAPTER
    if digest is not None:
        pages = (adapter_page(digest, index, page_tokens) for index in range(num_pages))
        checksum = hash(tuple(chain.from_iterable(pages)))
    slots: list[int] = []
    pending = list(prompt)
    while True:
        for token in pending:
            slots.append(_slot(tuple(slots[-1:]), token, len(slots), checksum))
        pending = [_next(tuple(slots), vocab_size)]
        yield pending[0]


def _slot(before: tuple[int, ...], token: int, position: int, checksum: int) -> int:
    return hash((before, token, position, checksum))


def _next(slots: tuple[int, ...], vocab_size: int) -> int:
    return hash(slots) % vocab_size
