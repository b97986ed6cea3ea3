"""An executor on the token-hash model: an exact oracle for memory."""

from itertools import chain

from motet.engine.fake.clock import StepCost, VirtualClock
from motet.engine.fake.link import Ended, VirtualLink
from motet.engine.fake.token_hash import NO_ADAPTER, adapter_page, kv_of, logprobs, next_token
from motet.engine.inbox import Inbox
from motet.engine.plan import (
    BASE_SLOT,
    AdapterBinding,
    Batch,
    PromptScores,
    Row,
    SampledToken,
    StepResult,
)
from motet.memory.copy import Transfers
from motet.memory.page import PageId

POISON = -1
"""What every place of a page holds that nobody owns."""


class FakeExecutor:
    """Does what plans say. What a copy brings is in its pages when it ends, not before."""

    def __init__(
        self,
        num_pages: int,
        page_tokens: int,
        vocab_size: int,
        inbox: Inbox,
        clock: VirtualClock,
        cost: StepCost,
        link: VirtualLink,
    ) -> None:
        self.page_tokens = page_tokens
        self.vocab_size = vocab_size
        self.pages = [[POISON] * page_tokens for _ in range(num_pages)]
        self.clock = clock
        self.link = link
        self.inbox = inbox
        self.cost = cost

    def begin(self, transfers: Transfers) -> None:
        for page in transfers.released:
            self.pages[page] = [POISON] * self.page_tokens
        for copy in transfers.copies:
            self.link.begin(copy, self.clock.now)
        for ticket in transfers.cancelled:
            told = self.link.cancel(ticket, self.clock.now)
            if told is not None:
                self.inbox.put(told)
        self.end_copies()

    def execute(self, batch: Batch) -> StepResult:
        self.clock.now += self.cost.seconds(batch)
        checksums = {BASE_SLOT: NO_ADAPTER}
        checksums |= {binding.slot: self.read_adapter(binding) for binding in batch.adapters}
        tokens = [self._run(row, checksums[row.slot]) for row in batch.rows]
        scores = [self._score(row) for row in batch.rows]
        self.end_copies()
        return StepResult(
            step=batch.step,
            tokens=tuple(token for token in tokens if token),
            scores=tuple(score for score in scores if score),
        )

    def end_copies(self) -> None:
        """Write and tell of what is over by now."""
        for ended in self.link.ended(self.clock.now):
            self.write_copy(ended)
            for _ in range(ended.num_told):
                self.inbox.put(ended.event)

    def write_copy(self, ended: Ended) -> None:
        for pair in ended.copy.pages[: ended.event.num_pages]:
            self.pages[pair.device] = adapter_page(ended.copy.digest, pair.host, self.page_tokens)

    def read_adapter(self, binding: AdapterBinding) -> int:
        """Checksum of the adapter as it lies in the pages it is bound to."""
        return hash(tuple(chain.from_iterable(self.pages[page] for page in binding.pages)))

    def write(self, pages: tuple[PageId, ...], position: int, value: int) -> None:
        self.pages[pages[position // self.page_tokens]][position % self.page_tokens] = value

    def read(self, pages: tuple[PageId, ...], start: int, end: int) -> tuple[int, ...]:
        """The KV of positions start..end."""
        first = start // self.page_tokens
        skipped = first * self.page_tokens
        last = -(-end // self.page_tokens)
        kv = chain.from_iterable(self.pages[page] for page in pages[first:last])
        return tuple(kv)[start - skipped : end - skipped]

    def _run(self, row: Row, checksum: int) -> SampledToken | None:
        for position, token in enumerate(row.tokens, start=row.start):
            before = self.read(row.pages, position - 1, position) if position else ()
            self.write(row.pages, position, kv_of(before, token, position, checksum))
        if row.sampling is None:
            return None
        kv = self.read(row.pages, 0, row.end)
        return SampledToken(row.request_id, next_token(kv, row.history, self.vocab_size))

    def _score(self, row: Row) -> PromptScores | None:
        if row.targets is None:
            return None
        kv, start = self.read(row.pages, 0, row.end), row.targets.start
        scores = tuple(
            logprobs(kv[:position], token, row.targets.num_logprobs, self.vocab_size)
            for position, token in enumerate(row.targets.tokens, start)
        )
        return PromptScores(row.request_id, scores)
