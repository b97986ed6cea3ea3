"""An executor that takes the time that things take, and does nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from motet.bench.replay.costs import CostModel
from motet.engine.fake.clock import VirtualClock
from motet.engine.fake.disk import FakeDisk
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Ended, Work
from motet.engine.inbox import Inbox
from motet.engine.plan import Batch, SampledToken, StepResult
from motet.memory.adapter import AdapterContent
from motet.memory.copy import CopyEnded, Read, ReadEnded, Transfers


@dataclass(slots=True)
class ReplayExecutor:
    """Answers what the trace says, token for token, so that later prompts may repeat it."""

    clock: VirtualClock
    inbox: Inbox
    lines: Lines
    disk: FakeDisk
    cost: CostModel
    page_bytes: int
    page_tokens: int
    answers: dict[str, Sequence[int]] = field(default_factory=dict)
    """Request -> the tokens of its answer."""
    busy_s: float = 0.0
    """In which steps were computed."""

    def begin(self, transfers: Transfers) -> None:
        now = self.clock.now
        works: tuple[Work, ...] = (*transfers.copies, *transfers.reads)
        for work in works:
            self.lines.of(work).begin(work, now)
        for ticket in transfers.hurried:
            self.lines.to_device.hurry(ticket, now)
        for ticket in transfers.cancelled:
            for line in self.lines:
                line.cancel(ticket, now)
        self.end_copies()

    def execute(self, batch: Batch) -> StepResult:
        seconds = self.cost.seconds(self.cost.work(batch, self.page_bytes, self.page_tokens))
        self.busy_s += seconds
        self.clock.now += seconds
        self.end_copies()
        answers = self.answers
        tokens = tuple(
            SampledToken(row.request_id, answers[row.request_id][row.num_generated])
            for row in batch.rows
            if row.sampling is not None
        )
        return StepResult(batch.step, tokens)

    def end_copies(self) -> None:
        """Tell of what is over by now."""
        for ended in self.lines.ended(self.clock.now):
            for _ in range(ended.num_told):
                self.inbox.put(self._event(ended))

    def _event(self, ended: Ended) -> CopyEnded | ReadEnded:
        work = ended.work
        if not isinstance(work, Read):
            return CopyEnded(work.ticket, ended.num_pages, ended.error)
        is_whole = ended.num_pages == len(work.pages)
        return ReadEnded(work.ticket, self._content(work) if is_whole else None)

    def _content(self, read: Read) -> AdapterContent:
        content = self.disk.contents[read.path]
        return content if read.pages else AdapterContent(content.max_rank, content.num_pages, None)
