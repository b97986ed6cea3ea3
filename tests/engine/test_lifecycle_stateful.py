"""Adapters may come, change and go in any order while they are used: every call is answered once,
every request ends once with the tokens of one content, and in the end nothing is left."""

from dataclasses import dataclass, field
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from motet.engine.core import handle
from motet.engine.fake.link import Ended, Work
from motet.engine.fake.token_hash import expected_tokens
from motet.engine.lengths import ENOUGH
from motet.engine.messages import (
    Aborted,
    Arrived,
    Call,
    Command,
    ListAdapters,
    LoadAdapter,
    Message,
    PinAdapter,
    RegisterAdapter,
    ResetPrefixCache,
    StepFinished,
    UnloadAdapter,
)
from motet.engine.output import TokenOutput
from motet.engine.plan import Batch
from motet.engine.request import Request
from motet.memory.adapter import Adapter, Standing
from motet.memory.adapter_cache import AdapterState
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import CopyEnded, ReadEnded, Ticket, Transfers
from motet.memory.costs import Costs
from motet.memory.registry import Generation
from tests.engine.factories import PAGE_TOKENS, VOCAB_SIZE, a_request, a_scheduler, an_executor

NAMES = ["a", "b", "c"]
PATHS = [f"/{number}" for number in range(4)]
SIZES = {f"digest-{size}": size for size in (1, 2, 3, 4)} | {"too large": 11}
NUM_PAGES, NUM_HOST_PAGES = 15, 10

choices = st.integers(0, 99)
names = st.sampled_from(NAMES)
paths = st.sampled_from(PATHS)
outcomes = st.sampled_from(["whole", "whole", "whole", "part", "error"])


@dataclass(slots=True)
class Expected:
    """Of one unfinished request."""

    request: Request
    generation: Generation | None
    """What its adapter's name meant when it came."""
    tokens: list[int] = field(default_factory=list)
    digest: str | None = None


class LifecycleMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.scheduler = a_scheduler(
            num_pages=NUM_PAGES,
            max_batch_tokens=10,
            max_batch_rows=4,
            max_batch_adapters=2,
            max_model_len=24,
            num_host_pages=NUM_HOST_PAGES,
            costs=Costs(),
        )
        for _ in range(ENOUGH):  # expects short outputs, admits too many and has to preempt
            self.scheduler._lengths.finished(None, 1)
        self.memory = self.scheduler.memory
        self.executor = an_executor(self.scheduler)
        self.now = 0.0
        self.under_way: dict[Ticket, Work] = {}
        self.ended: list[CopyEnded | ReadEnded] = []
        self.in_flight: Batch | None = None
        self.unfinished: dict[str, Expected] = {}
        self.calls = count()
        self.unanswered: dict[int, Command] = {}
        self.current: dict[str, Adapter] = {}  # as far as it was told
        self.gone: list[Adapter] = []
        self.digests: dict[tuple[str, int], str] = {}
        for path, digest in zip(PATHS, SIZES, strict=False):
            self.executor.disk.put(path, digest, SIZES[digest])

    @initialize(is_loaded=st.booleans())
    def begin(self, is_loaded: bool) -> None:
        for name, path in zip(NAMES, PATHS, strict=False):
            if is_loaded:
                self.load(name, path, in_place=False, is_pinned=False)
            else:
                self.register(name, path)

    # The disk.

    @rule(path=paths, digest=st.sampled_from([*SIZES, None]))
    def save(self, path: str, digest: str | None) -> None:
        if digest is None:
            self.executor.disk.remove(path)
        else:
            self.executor.disk.put(path, digest, SIZES[digest])

    # The operator.

    @rule(name=names, path=paths)
    def register(self, name: str, path: str) -> None:
        self.call(RegisterAdapter(Adapter(name, None, 0, 0, 0, path)))

    @rule(name=names, path=paths, in_place=st.booleans(), is_pinned=st.booleans())
    def load(self, name: str, path: str, in_place: bool, is_pinned: bool) -> None:
        self.call(LoadAdapter(name, path, in_place, is_pinned))

    @rule(name=names)
    def unload(self, name: str) -> None:
        self.call(UnloadAdapter(name))

    @rule(name=names, is_pinned=st.booleans())
    def pin(self, name: str, is_pinned: bool) -> None:
        self.call(PinAdapter(name, is_pinned))

    @rule(name=st.sampled_from([None, *NAMES]))
    def look(self, name: str | None) -> None:
        """What is listed are the generations that there are, each once."""
        self.call(ListAdapters(name=name))

    @rule(choice=choices)
    def reset(self, choice: int = 0) -> None:
        if choice % 8 == 0:
            self.call(ResetPrefixCache())

    # Users.

    @rule(
        name=st.sampled_from([None, *NAMES]),
        token=st.integers(0, 2),
        num_tokens=st.integers(1, 18),
        max_tokens=st.integers(1, 6),
        is_late=st.booleans(),
    )
    def arrive(
        self, name: str | None, token: int, num_tokens: int, max_tokens: int, is_late: bool
    ) -> None:
        """Perhaps on a generation that has left meanwhile."""
        adapter = self.current.get(name) if name else None
        late = [gone for gone in self.gone if gone.name == name]
        if is_late and late:
            adapter = late[-1]
        if name is None or adapter is not None:
            request = a_request([token] * num_tokens, max_tokens, adapter)
            generation = self.memory.registry.find(adapter) if adapter else None
            self.unfinished[request.request_id] = Expected(request, generation)
            self.tell(Arrived(request, self.now))

    @precondition(lambda self: self.unfinished)
    @rule(choice=choices)
    def abort(self, choice: int) -> None:
        ids = list(self.unfinished)
        self.tell(Aborted(ids[choice % len(ids)]))

    # The engine.

    @precondition(lambda self: self.in_flight is None)
    @rule()
    def plan(self) -> None:
        plan = self.scheduler.plan()
        transfers = plan.transfers
        works: tuple[Work, ...] = (*transfers.copies, *transfers.reads)
        self.under_way |= {work.ticket: work for work in works}
        self.executor.begin(
            Transfers(
                released=transfers.released,
                released_on_host=transfers.released_on_host,
                forgotten=transfers.forgotten,
            )
        )
        self.in_flight = plan.batch if plan.batch.rows else None

    @precondition(lambda self: self.in_flight is None and self.scheduler.running)
    @rule(choice=choices)
    def preempt(self, choice: int) -> None:
        running = self.scheduler.running
        self.scheduler.preempt(running[choice % len(running)])

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def finish_step(self) -> None:
        assert self.in_flight is not None
        result = self.executor.execute(self.in_flight)
        self.in_flight = None
        self.hear(self.scheduler.handle(StepFinished(result, self.now)))

    @precondition(lambda self: self.under_way)
    @rule(choice=choices, outcome=outcomes, is_told=st.booleans())
    def end_move(self, choice: int, outcome: str, is_told: bool = True) -> None:
        """It may be heard of later, or only when it is asked for."""
        work = list(self.under_way.values())[choice % len(self.under_way)]
        del self.under_way[work.ticket]
        num_pages = len(work.pages)
        if outcome != "whole":
            num_pages = choice % num_pages if num_pages else 0
        error = "broken" if outcome == "error" else None
        end = self.executor.write(Ended(work, num_pages, error, num_told=1))
        self.ended.append(end)
        if is_told:
            self.tell(end)

    @precondition(lambda self: self.ended)
    @rule(choice=choices)
    def tell_an_end(self, choice: int) -> None:
        """Perhaps again."""
        self.tell(self.ended[choice % len(self.ended)])

    @rule(num_turns=st.integers(1, 6))
    def go_on(self, num_turns: int = 3) -> None:
        """For a while without faults."""
        for _ in range(num_turns):
            if self.in_flight is not None:
                self.finish_step()
            self.plan()
            while self.under_way:
                self.end_move(0, "whole")
        if self.in_flight is not None:
            self.finish_step()

    @rule(seconds=st.sampled_from([0.1, PATIENCE_S]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.tell()

    # What always holds.

    @invariant()
    def all_views_agree(self) -> None:
        self.scheduler.check()

    @invariant()
    def what_is_pinned_stays(self) -> None:
        for room in self.memory.rooms:
            for resident in room.idle():
                assert not (isinstance(resident, AdapterState) and resident.num_pins)

    @invariant()
    def equal_content_is_there_once(self) -> None:
        digests = [state.digest for state in self.memory.adapters.states() if state.digest]
        assert len(digests) == len(set(digests))

    def teardown(self) -> None:
        """Without new events all that was begun ends; and what is unloaded leaves nothing."""
        for end in self.ended:
            self.tell(end)
        num_turns = 0
        while self.scheduler.has_work or self.in_flight is not None:
            self.go_on()
            num_turns += 1
            assert num_turns < 500, "something waits for nothing"
        assert not self.unfinished and not self.unanswered
        for name in list(self.current):
            self.unload(name)
        self.reset()
        self.plan()
        self.plan()
        counts = self.memory.counts()
        assert (counts.pages_free, counts.host_pages_free) == (NUM_PAGES, NUM_HOST_PAGES)
        assert not self.current and not self.unanswered
        assert not self.memory.adapters.states() and not len(self.memory.registry)
        assert not self.executor.known
        assert self.scheduler._lengths._by_adapter.keys() <= {None}
        self.scheduler.check()

    # What the rules are made of.

    def call(self, command: Command) -> None:
        """Between two steps, as an engine does."""
        if self.in_flight is not None:
            self.finish_step()
        call_id = next(self.calls)
        self.unanswered[call_id] = command
        self.tell(Call(call_id, command))

    def tell(self, *messages: Message) -> None:
        outputs, replies = handle(self.scheduler, messages, self.now)
        self.learn()
        self.hear(outputs)
        for reply in replies:
            command = self.unanswered.pop(reply.call_id)  # exactly one answer
            assert (reply.error is None) == (reply.kind == "MotetError")
            if isinstance(command, LoadAdapter | PinAdapter) and reply.error is None:
                [status] = reply.adapters
                assert status.adapter.name == command.name
            if isinstance(command, ListAdapters):
                known = sum(command.name in (None, g.adapter.name) for g in self.memory.registry)
                assert len(reply.adapters) == known

    def hear(self, outputs: list[TokenOutput] | tuple[TokenOutput, ...]) -> None:
        for output in outputs:
            expected = self.unfinished[output.request_id]
            if output.token_id is not None:
                if output.index == 0:
                    expected.digest = output.adapter_digest
                    self.must_be_its_content(expected)
                assert output.index == len(expected.tokens)
                expected.tokens.append(output.token_id)
            if output.finish_reason is not None:
                del self.unfinished[output.request_id]  # exactly one end
                self.must_be_right(expected)

    def must_be_its_content(self, expected: Expected) -> None:
        generation = expected.generation
        assert (generation is None) == (expected.digest is None)
        assert generation is None or generation.adapter.digest == expected.digest

    def must_be_right(self, expected: Expected) -> None:
        digest = expected.digest
        right = expected_tokens(
            expected.request.prompt,
            digest,
            SIZES[digest] if digest else 0,
            PAGE_TOKENS,
            VOCAB_SIZE,
        )
        assert expected.tokens == [next(right) for _ in expected.tokens]

    def learn(self) -> None:
        """What has become of names, as a server follows it."""
        for news in self.memory.registry.take_news():
            adapter = news.adapter
            key = (adapter.name, adapter.generation)
            if adapter.digest is not None:  # what a generation is never changes
                assert self.digests.setdefault(key, adapter.digest) == adapter.digest
            if news.standing is Standing.CURRENT:
                self.current[adapter.name] = adapter
                continue
            self.gone.append(adapter)
            if self.current.get(adapter.name, adapter).generation == adapter.generation:
                self.current.pop(adapter.name, None)


TestLifecycleMachine = LifecycleMachine.TestCase
TestLifecycleMachine.settings = settings(deadline=None, stateful_step_count=50)
