"""The engine as asyncio sees it: requests in, streams of tokens out.

The core turns in a thread of its own. Only messages (`engine/messages.py`) cross the border, in
both directions, so the thread can become a process without changing either side.
"""

import asyncio
import contextlib
import enum
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from itertools import count

from motet.engine.adapter_mirror import AdapterMirror
from motet.engine.core import EngineCore
from motet.engine.inbox import Inbox
from motet.engine.messages import (
    Aborted,
    Arrived,
    Call,
    Command,
    Failed,
    News,
    Ready,
    Reply,
    Report,
    Stop,
)
from motet.engine.output import EngineInfo, EngineStats, FinishReason, TokenOutput
from motet.engine.request import Request
from motet.errors import BrokenInvariant, MotetError, Unavailable, error_named
from motet.memory.adapter import AdapterNews, AdapterStatus, Standing

log = logging.getLogger(__name__)


class EngineStatus(enum.StrEnum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


UNAVAILABLE = {
    EngineStatus.LOADING: "the engine is loading: try again when /ready says so",
    EngineStatus.FAILED: "the engine has failed: its log says why; start it again",
    EngineStatus.STOPPED: "the engine is stopping: ask another server",
}
"""Why nothing is served, and what to do."""


@dataclass(slots=True)
class Unfinished:
    """A request on its way through the engine."""

    request: Request
    outputs: asyncio.Queue[TokenOutput]
    has_begun: bool = False
    """Whether its first output has come."""


@dataclass(slots=True)
class Iterations:
    """How many tokens the steps had that generated any: these, and the prompts they complete."""

    num_steps: Counter[int] = field(default_factory=Counter)
    """By size, rounded up to a power of two."""
    num_tokens: int = 0

    def add(self, num_tokens: int) -> None:
        self.num_steps[1 << (num_tokens - 1).bit_length()] += 1
        self.num_tokens += num_tokens


class Engine:
    """Owns the engine thread. All methods are called on the asyncio loop that called `start`."""

    def __init__(self, build: Callable[[], EngineCore]) -> None:
        """`build` loads the model; it runs in the engine thread and may take minutes."""
        self._build = build
        self._inbox = Inbox()  # that of the core from when it is ready
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._call_ids = count()
        self._must_stop = False
        self._unfinished: dict[str, Unfinished] = {}
        self._leaving: set[str] = set()  # nobody reads them any more; their ends are yet to come
        self._thread = threading.Thread(target=self._run, name="motet-engine", daemon=True)
        self._ready: asyncio.Future[EngineInfo]
        self._loop: asyncio.AbstractEventLoop
        self.status = EngineStatus.LOADING
        self.stats = EngineStats()
        self.iterations = Iterations()
        self.adapters = AdapterMirror()
        """What names mean, from when it is ready."""

    def start(self) -> None:
        """Begin loading; `ready` tells how it ended."""
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._thread.start()

    async def ready(self) -> EngineInfo:
        """Wait until requests are served. Raises what loading raised."""
        return await asyncio.shield(self._ready)

    @property
    def info(self) -> EngineInfo:
        """What is served. Raises Unavailable unless the engine is ready."""
        if self.status is not EngineStatus.READY:
            raise Unavailable(UNAVAILABLE[self.status])
        return self._ready.result()

    @property
    def num_waiting(self) -> int:
        """Requests that have not ended and are not in the running batch."""
        return max(0, len(self._unfinished) - self.stats.num_running)

    @property
    def unfinished(self) -> Collection[Unfinished]:
        """Every request that has not ended, oldest first."""
        return self._unfinished.values()

    async def generate(self, *requests: Request) -> AsyncGenerator[list[TokenOutput], None]:
        """The tokens of some requests as they come: each time all that are there, at least one.

        A reader that is slow, or a loop that is busy, thus gets fewer and larger pieces. Closing
        the iterator early aborts what is unfinished. Raises Unavailable when the engine is not
        ready. If it dies, the last output of each request says so.
        """
        _ = self.info
        unfinished = {request.request_id for request in requests}
        in_use = self._unfinished.keys() | self._leaving
        if len(unfinished) < len(requests) or not unfinished.isdisjoint(in_use):
            raise BrokenInvariant(f"request ids {sorted(unfinished)} are not unique")
        outputs: asyncio.Queue[TokenOutput] = asyncio.Queue()
        self._unfinished |= {r.request_id: Unfinished(r, outputs) for r in requests}
        now = time.monotonic()
        for request in requests:
            self._inbox.put(Arrived(request, now))
        try:
            while unfinished:
                batch = [await outputs.get()]
                while not outputs.empty():
                    batch.append(outputs.get_nowait())
                for output in batch:
                    if output.finish_reason is not None:
                        unfinished.remove(output.request_id)
                yield batch
        finally:
            for request_id in unfinished:
                known = self._unfinished.get(request_id)
                if known and known.outputs is outputs:  # else it has ended, unread
                    del self._unfinished[request_id]
                    self._leaving.add(request_id)
                    self._inbox.put(Aborted(request_id))

    def abort(self, request_id: str) -> None:
        """End one request, whose last output then says so. One that has just ended stays so."""
        self._inbox.put(Aborted(request_id))

    async def call(self, command: Command) -> tuple[AdapterStatus, ...]:
        """The adapters that a command is about, which is carried out as `ask` says."""
        return (await self.ask(command)).adapters

    async def ask(self, command: Command) -> Reply:
        """Have a command carried out, between two steps.

        It may take as long as a directory takes to be read; a caller who leaves does not stop it.
        Once it returns, `adapters` has what it changed. Raises Unavailable when the engine is not
        ready or ends meanwhile, and for what cannot be done, the error that the command names.
        """
        _ = self.info
        call_id = next(self._call_ids)
        self._calls[call_id] = asyncio.get_running_loop().create_future()
        self._inbox.put(Call(call_id, command))
        try:
            reply = await self._calls[call_id]
        finally:
            del self._calls[call_id]
        if reply.error is not None:
            raise error_named(reply.kind, reply.error)
        return reply

    async def stop(self) -> None:
        """End every stream, then the thread; one that still loads ends with the process."""
        is_loading = self.status is EngineStatus.LOADING
        if self.status is not EngineStatus.FAILED:
            self.status = EngineStatus.STOPPED
        if not self._ready.done():
            self._ready.set_exception(Unavailable(UNAVAILABLE[self.status]))
            self._ready.exception()  # nobody has to ask
        self._end_all(FinishReason.ABORT, "the server is stopping")
        self._must_stop = True
        self._inbox.put(Stop())
        if not is_loading:
            await asyncio.to_thread(self._thread.join)

    # In the engine thread.

    def _run(self) -> None:
        try:
            core = self._build()
            self._inbox = core.inbox
            idle = core.turn((), time.monotonic())
            self._post(Ready(core.info))
            self._post(idle)  # at once, so that counts add up as soon as any are asked for
            self._serve(core)
        except BaseException as error:
            if not isinstance(error, MotetError):
                log.exception("the engine has failed")
            self._post(Failed(type(error).__name__, str(error)))

    def _serve(self, core: EngineCore) -> None:
        while not self._must_stop:
            messages = core.take(time.monotonic())
            if not self._must_stop:
                self._post(core.turn(messages, time.monotonic()))

    def _post(self, news: News) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._receive, news)

    # Back on the asyncio loop.

    def _receive(self, news: News) -> None:
        match news:
            case Ready(info):
                if self.status is EngineStatus.LOADING:  # else it was stopped meanwhile
                    self.status = EngineStatus.READY
                    self.adapters.update(AdapterNews(a, Standing.CURRENT) for a in info.adapters)
                    self._ready.set_result(info)
            case Report():
                self._on_report(news)
            case Failed():
                self._on_failed(news)

    def _on_report(self, report: Report) -> None:
        self.stats = report.stats
        self.adapters.update(report.adapters)
        for reply in report.replies:
            self._answer(reply)
        num_tokens = 0
        for output in report.outputs:
            unfinished = self._unfinished.get(output.request_id)
            if unfinished is None:  # its client has just gone
                if output.finish_reason is not None:
                    self._leaving.discard(output.request_id)
                continue
            if output.token_id is not None:
                num_tokens += 1 if unfinished.has_begun else 1 + len(unfinished.request.prompt)
                unfinished.has_begun = True
            if output.finish_reason is not None:
                del self._unfinished[output.request_id]  # nothing may follow the end
            unfinished.outputs.put_nowait(output)
        if num_tokens:
            self.iterations.add(num_tokens)

    def _on_failed(self, failed: Failed) -> None:
        if self.status is EngineStatus.STOPPED:
            return  # nobody is left to tell
        self.status = EngineStatus.FAILED
        if not self._ready.done():
            self._ready.set_exception(error_named(failed.kind, failed.error))
            return
        log.error("the engine has failed: %s: %s", failed.kind, failed.error)
        self._end_all(FinishReason.ERROR, "the engine failed; the operator's log says why")

    def _end_all(self, reason: FinishReason, error: str) -> None:
        """End every stream, after which nothing may follow, and every call."""
        ended, self._unfinished = self._unfinished, {}
        for request_id, unfinished in ended.items():
            output = TokenOutput(request_id, -1, None, finish_reason=reason, error=error)
            unfinished.outputs.put_nowait(output)
        for call_id in self._calls:
            self._answer(Reply(call_id, error, Unavailable.__name__))

    def _answer(self, reply: Reply) -> None:
        future = self._calls.get(reply.call_id)
        if future is not None and not future.done():  # else its caller has gone, or is going
            future.set_result(reply)
