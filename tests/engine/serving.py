"""An engine on virtual time that is asked, and turned until it has answered."""

from collections.abc import Iterable
from itertools import count, islice

from motet.engine.core import EngineCore
from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.lines import Lines
from motet.engine.fake.token_hash import expected_tokens
from motet.engine.fake.virtual import VirtualEngine
from motet.engine.inbox import Inbox
from motet.engine.messages import Arrived, Call, Command, Reply
from motet.engine.output import EngineStats, TokenOutput
from motet.engine.request import Request
from motet.engine.scheduler import Scheduler
from motet.memory.adapter import Adapter
from tests.engine.factories import PAGE_TOKENS, VOCAB_SIZE, an_executor, an_info

MAX_TURNS = 10_000


class Serving:
    """What is asked is answered before anything else is asked, unless it says otherwise."""

    def __init__(self, scheduler: Scheduler, lines: Lines | None = None) -> None:
        inbox = Inbox()
        self.executor: FakeExecutor = an_executor(scheduler, inbox, lines)
        core = EngineCore(an_info(), scheduler, self.executor, inbox)
        self.engine = VirtualEngine(core, self.executor)
        self.scheduler = scheduler
        self.memory = scheduler.memory
        self.outputs: dict[str, list[TokenOutput]] = {}
        self.replies: dict[int, Reply] = {}
        self._call_ids = count()

    @property
    def stats(self) -> EngineStats:
        return self.scheduler.stats()

    def save(self, adapter: Adapter, digest: str | None = None) -> None:
        """Into its directory, or another content than its own."""
        found = digest or adapter.digest
        assert found is not None
        self.executor.disk.put(adapter.path, found, adapter.num_pages)

    def send(self, *requests: Request) -> None:
        """To be served from the next turn on."""
        for request in requests:
            self.engine.core.inbox.put(Arrived(request, self.engine.now))
            self.outputs[request.request_id] = []

    def begin(self, command: Command) -> int:
        """To be carried out from the next turn on: its number."""
        call_id = next(self._call_ids)
        self.engine.core.inbox.put(Call(call_id, command))
        return call_id

    def turn(self) -> None:
        report = self.engine.turn()
        for output in report.outputs:
            self.outputs[output.request_id].append(output)
        self.replies |= {reply.call_id: reply for reply in report.replies}
        self.scheduler.check()

    def call(self, command: Command) -> Reply:
        call_id = self.begin(command)
        for _ in range(MAX_TURNS):
            self.turn()
            if call_id in self.replies:
                return self.replies[call_id]
        raise AssertionError(f"no reply to {command}")

    def serve(self, *requests: Request) -> list[TokenOutput]:
        """The last output of each of these."""
        self.send(*requests)
        return self.finish(requests)

    def finish(self, requests: Iterable[Request]) -> list[TokenOutput]:
        """As `serve`, of what has been sent."""
        wanted = [request.request_id for request in requests]
        for _ in range(MAX_TURNS):
            if all(self.has_ended(request_id) for request_id in wanted):
                return [self.outputs[request_id][-1] for request_id in wanted]
            self.turn()
        raise AssertionError(f"some of {wanted} have not ended")

    def has_ended(self, request_id: str) -> bool:
        outputs = self.outputs[request_id]
        return bool(outputs) and outputs[-1].finish_reason is not None

    def until_idle(self) -> None:
        self.turn()
        while self.scheduler.has_work:
            self.turn()

    def is_right(self, request: Request, digest: str | None = None, num_pages: int = 0) -> bool:
        """Are there tokens, and are they those of this content?"""
        told = [o.token_id for o in self.outputs[request.request_id] if o.token_id is not None]
        right = expected_tokens(request.prompt, digest, num_pages, PAGE_TOKENS, VOCAB_SIZE)
        return bool(told) and told == list(islice(right, len(told)))
