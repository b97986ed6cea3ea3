"""An executor on the token-hash model: an exact oracle for memory."""

from itertools import chain

from msgspec.structs import replace

from motet.engine.fake.clock import StepCost, VirtualClock
from motet.engine.fake.disk import FakeDisk
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Ended, Work
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
from motet.memory.copy import CopyEnded, Direction, Read, ReadEnded, Ticket, Transfers
from motet.memory.page import PageId

POISON = -1
"""What every place of a page holds that nobody owns."""


class FakeExecutor:
    """Does what plans say. What a copy brings is in its pages when it ends, not before."""

    def __init__(
        self,
        num_pages: int,
        num_host_pages: int,
        page_tokens: int,
        vocab_size: int,
        inbox: Inbox,
        clock: VirtualClock,
        cost: StepCost,
        lines: Lines,
        disk: FakeDisk,
    ) -> None:
        self.page_tokens = page_tokens
        self.vocab_size = vocab_size
        self.pages = [[POISON] * page_tokens for _ in range(num_pages)]
        self.host_pages = [[POISON] * page_tokens for _ in range(num_host_pages)]
        self.clock = clock
        self.lines = lines
        self.disk = disk
        self.inbox = inbox
        self.cost = cost
        self.known: set[str] = set()
        """Digests of adapters that were read and not forgotten: only these can be computed with."""
        self._told: dict[Ticket, CopyEnded | ReadEnded] = {}

    def begin(self, transfers: Transfers) -> None:
        now = self.clock.now
        for page in transfers.released:
            self.pages[page] = [POISON] * self.page_tokens
        for page in transfers.released_on_host:
            self.host_pages[page] = [POISON] * self.page_tokens
        self.known.difference_update(transfers.forgotten)
        works: tuple[Work, ...] = (*transfers.copies, *transfers.reads)
        for work in works:
            self.lines.of(work).begin(work, now)
        for ticket in transfers.hurried:
            for line in self.lines:
                line.hurry(ticket, now)
        for ticket in transfers.cancelled:
            if not any([line.cancel(ticket, now) for line in self.lines]):
                self.inbox.put(self._told.get(ticket, CopyEnded(ticket, 0)))
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
        for ended in self.lines.ended(self.clock.now):
            event = self.write(ended)
            self._told[ended.work.ticket] = event
            for _ in range(ended.num_told):
                self.inbox.put(event)

    def write(self, ended: Ended) -> CopyEnded | ReadEnded:
        """Fill the pages that have come."""
        work = ended.work
        if isinstance(work, Read):
            return self._read(work, ended)
        for pair in work.pages[: ended.num_pages]:
            if work.direction is Direction.TO_DEVICE:
                self.pages[pair.device] = list(self.host_pages[pair.host])
            else:
                self.host_pages[pair.host] = list(self.pages[pair.device])
        return CopyEnded(work.ticket, ended.num_pages, ended.error)

    def read_adapter(self, binding: AdapterBinding) -> int:
        """Checksum of the adapter as it lies in the pages it is bound to."""
        assert binding.digest in self.known, f"nobody has read {binding.digest}"
        return hash(tuple(chain.from_iterable(self.pages[page] for page in binding.pages)))

    def write_kv(self, pages: tuple[PageId, ...], position: int, value: int) -> None:
        self.pages[pages[position // self.page_tokens]][position % self.page_tokens] = value

    def read_kv(self, pages: tuple[PageId, ...], start: int, end: int) -> tuple[int, ...]:
        """The KV of positions start..end."""
        first = start // self.page_tokens
        skipped = first * self.page_tokens
        last = -(-end // self.page_tokens)
        kv = chain.from_iterable(self.pages[page] for page in pages[first:last])
        return tuple(kv)[start - skipped : end - skipped]

    def _read(self, read: Read, ended: Ended) -> ReadEnded:
        content = self.disk.contents.get(read.path)
        if content is None:
            return ReadEnded(read.ticket, None, f"'{read.path}' does not exist")
        if ended.error is not None:
            return ReadEnded(read.ticket, None, ended.error)
        if not read.pages:
            return ReadEnded(read.ticket, replace(content, digest=None))
        assert content.digest is not None
        is_expected = read.digest in (None, content.digest)
        if not is_expected or content.num_pages != len(read.pages):
            return ReadEnded(read.ticket, None, f"'{read.path}' has changed", "AdapterChanged")
        for index, page in enumerate(read.pages[: ended.num_pages]):
            self.host_pages[page] = adapter_page(content.digest, index, self.page_tokens)
        if ended.num_pages < len(read.pages):
            return ReadEnded(read.ticket, None)
        self.known.add(content.digest)
        return ReadEnded(read.ticket, content)

    def _run(self, row: Row, checksum: int) -> SampledToken | None:
        for position, token in enumerate(row.tokens, start=row.start):
            before = self.read_kv(row.pages, position - 1, position) if position else ()
            self.write_kv(row.pages, position, kv_of(before, token, position, checksum))
        if row.sampling is None:
            return None
        kv = self.read_kv(row.pages, 0, row.end)
        return SampledToken(row.request_id, next_token(kv, row.history, self.vocab_size))

    def _score(self, row: Row) -> PromptScores | None:
        if row.targets is None:
            return None
        kv, start = self.read_kv(row.pages, 0, row.end), row.targets.start
        scores = tuple(
            logprobs(kv[:position], token, row.targets.num_logprobs, self.vocab_size)
            for position, token in enumerate(row.targets.tokens, start)
        )
        return PromptScores(row.request_id, scores)
