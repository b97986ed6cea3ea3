"""A real Engine whose core plays scripts, and servers around it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import uvicorn
from fastapi import FastAPI

from motet.adapter_places import NOWHERE, AdapterPlaces
from motet.engine import Adapter, Engine, EngineInfo, EngineStats, FinishReason, TokenOutput
from motet.engine.core import EngineCore
from motet.engine.inbox import Inbox
from motet.engine.messages import Aborted, Arrived, Call, Message, Report
from motet.engine.output import TokenLogprobs
from motet.engine.request import Request
from motet.errors import AdapterError
from motet.server.app import create_app
from motet.server.http.config import ServerConfig
from motet.server.http.connection import Connection
from motet.server.http.service import Service
from motet.server.text.template import ChatTemplate
from tests.model_factory import VOCAB_SIZE
from tests.server.scripted_adapters import ScriptedAdapters

EOS = 2
LETTER_A = 67
UNSUPPORTED: dict[str, Any] = {
    "prompt_logprobs": 0,
    "response_format": {"type": "json_object"},
    "structured_outputs": {"regex": "a"},
    "lora": [{"id": 0, "scale": 1}],
    "skip_special_tokens": False,
    "allowed_token_ids": [5],
    "bad_words": ["x"],
    "guided_json": {},
    "guided_regex": "x",
    "guided_choice": ["x"],
    "guided_grammar": "x",
    "use_beam_search": True,
    "length_penalty": 0.5,
    "return_tokens_as_token_ids": True,
}
"""Fields that no generation route does yet, at other values than their default."""

Script = Callable[[Request], Iterator[TokenOutput]]


class ScriptedCore:
    """Plays `script` for each request, one output per turn, and answers commands.

    Stands for an EngineCore.
    """

    def __init__(self, script: Script, info: EngineInfo) -> None:
        self.info = info
        self.requests: list[Request] = []
        self.aborted: set[str] = set()
        self.script = script
        self.adapters = ScriptedAdapters(info.adapters)
        self._playing: dict[str, tuple[Request, Iterator[TokenOutput]]] = {}
        self.inbox = Inbox()

    @property
    def has_work(self) -> bool:
        return bool(self._playing) or self.adapters.is_busy

    def take(self, now: float) -> list[Message]:
        return self.inbox.take(0 if self.has_work else None)

    def turn(self, messages: Iterable[Message], now: float) -> Report:
        outputs: list[TokenOutput] = []
        calls: list[Call] = []
        for message in messages:
            if isinstance(message, Arrived):
                outputs += self._begin(message.request)
            elif isinstance(message, Call):
                calls.append(message)
            elif isinstance(message, Aborted):
                self.aborted.add(message.request_id)
                if message.request_id in self._playing:
                    outputs.append(an_abort(message.request_id))
        for request_id, (_, script) in self._playing.items():
            if request_id not in self.aborted:
                outputs.append(next(script))
        for output in outputs:
            if output.finish_reason is not None and output.request_id in self._playing:
                self.adapters.end(self._playing.pop(output.request_id)[0])
        replies, news = self.adapters.turn(calls)
        stats = EngineStats(num_running=len(self._playing), pages_kv=7, pages_free=93)
        return Report(tuple(outputs), replies, stats, news)

    def _begin(self, request: Request) -> Iterable[TokenOutput]:
        self.requests.append(request)
        try:
            digest = self.adapters.begin(request)
        except AdapterError as error:
            yield an_end(request, FinishReason.ERROR, str(error), type(error).__name__)
            return
        script = self.script if request.sampling.max_tokens else computes
        self._playing[request.request_id] = request, _begun_on(digest, script(request))


def _begun_on(digest: str | None, outputs: Iterator[TokenOutput]) -> Iterator[TokenOutput]:
    yield msgspec.structs.replace(next(outputs), adapter_digest=digest)
    yield from outputs


Core = ScriptedCore | EngineCore


def an_info(model: Path, **changes: Any) -> EngineInfo:
    values: dict[str, Any] = {
        "model": str(model),
        "architecture": "LlamaForCausalLM",
        "dtype": "float32",
        "device": "cpu",
        "vocab_size": VOCAB_SIZE,
        "max_model_len": 128,
        "eos_token_ids": (EOS,),
        "max_lora_rank": 64,
        "max_batch_rows": 8,
        "max_batch_adapters": 4,
        "num_pages": 100,
        "page_bytes": 4096,
        "page_tokens": 16,
        "rank16_adapter_pages": 2,
        "adapters": (Adapter("tuned", "0123456789abcdef", 1, 8, 2, "adapters/tuned"),),
    }
    return EngineInfo(**values | changes)


def says(*token_ids: int, end: FinishReason = FinishReason.STOP) -> Script:
    """These tokens; then end of sequence, or no more room."""

    def script(request: Request) -> Iterator[TokenOutput]:
        ids = [*token_ids, EOS] if end is FinishReason.STOP else list(token_ids)
        for index, token_id in enumerate(ids):
            reason = end if index == len(ids) - 1 else None
            yield an_output(request, index, token_id, reason)

    return script


def babbles(request: Request) -> Iterator[TokenOutput]:
    """Tokens until `max_tokens`, without haste."""
    for index in count():
        time.sleep(0.001)
        is_last = index + 1 == request.sampling.max_tokens
        yield an_output(request, index, LETTER_A, FinishReason.LENGTH if is_last else None)


def rushes(request: Request) -> Iterator[TokenOutput]:
    """Tokens without end, several in a millisecond."""
    for index in count():
        time.sleep(0.0002)
        yield an_output(request, index, LETTER_A)


def hesitates(request: Request) -> Iterator[TokenOutput]:
    """As `babbles`, after a while."""
    time.sleep(0.3)
    yield from babbles(request)


def computes(request: Request) -> Iterator[TokenOutput]:
    """The prompt and nothing more."""
    yield an_output(request, 0, None, FinishReason.LENGTH)


def each_choice(*scripts: Script) -> Script:
    """Its own script for each choice of a prompt."""
    return lambda request: scripts[request.sampling.choice](request)


def fails(reason: FinishReason, message: str, after: int = 0) -> Script:
    """Some tokens, then an end that is no answer."""

    def script(request: Request) -> Iterator[TokenOutput]:
        for index in range(after):
            yield an_output(request, index, LETTER_A)
        yield TokenOutput(request.request_id, after, None, finish_reason=reason, error=message)

    return script


def dies(request: Request) -> Iterator[TokenOutput]:
    """One token; then the engine breaks."""
    yield an_output(request, 0, LETTER_A)
    raise RuntimeError("secret of the engine")


def an_output(
    request: Request, index: int, token_id: int | None, reason: FinishReason | None = None
) -> TokenOutput:
    """The likeliest tokens are the chosen one and those before it."""
    logprobs = None if token_id is None else a_logprob(token_id, request.sampling.num_logprobs)
    of_prompt = [a_logprob(i, request.sampling.num_prompt_logprobs) for i in request.prompt[1:]]
    return TokenOutput(
        request.request_id,
        index,
        token_id,
        logprobs.logprob if logprobs else None,
        logprobs.top if logprobs else (),
        reason,
        num_cached_tokens=4,
        prompt_logprobs=tuple(entry for entry in of_prompt if entry and index == 0),
    )


def a_logprob(token_id: int, num_top: int | None) -> TokenLogprobs | None:
    if num_top is None:
        return None
    return TokenLogprobs(-0.5, tuple((token_id - rank, -0.5 - rank) for rank in range(num_top)))


def an_end(
    request: Request, reason: FinishReason, error: str, error_kind: str | None = None
) -> TokenOutput:
    return TokenOutput(
        request.request_id, 0, None, finish_reason=reason, error=error, error_kind=error_kind
    )


def an_abort(request_id: str) -> TokenOutput:
    return TokenOutput(request_id, -1, None, finish_reason=FinishReason.ABORT)


PLAIN_TEMPLATE = ChatTemplate(
    "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}"
    "{% if add_generation_prompt %}me:{% endif %}",
    {},
)
"""Each message as `role: content;`, in the order they have."""


@asynccontextmanager
async def serving(
    core: Core,
    config: ServerConfig | None = None,
    template: ChatTemplate | None = PLAIN_TEMPLATE,
    places: AdapterPlaces = NOWHERE,
) -> AsyncIterator[FastAPI]:
    """The application, ready, with its lifespan."""
    engine = Engine(lambda: cast(EngineCore, core))
    app = create_app(engine, config or a_config(), places=places)
    async with app.router.lifespan_context(app):
        await _ready_with(app.state.service, template)
        yield app


async def _ready_with(service: Service, template: ChatTemplate | None) -> None:
    served = await service.ready()
    served.formats.base = replace(served.formats.base, template=template)


def a_config() -> ServerConfig:
    return ServerConfig(served_model_name="base")


def connect(app: FastAPI) -> httpx.AsyncClient:
    """A client of `app` without a socket."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://motet")


@asynccontextmanager
async def listening(
    core: Core,
    config: ServerConfig | None = None,
    max_connections: int | None = None,
    places: AdapterPlaces = NOWHERE,
) -> AsyncIterator[str]:
    """The address of a real server."""
    engine = Engine(lambda: cast(EngineCore, core))
    app = create_app(engine, config or a_config(), places=places)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Small, so that it is soon seen who does not read; connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Connection,
                log_level="error",
                ws="none",
                limit_concurrency=max_connections,
            )
        )
        running = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        await _ready_with(app.state.service, PLAIN_TEMPLATE)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.005)
