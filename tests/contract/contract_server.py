"""The whole stack behind a socket: a tiny Llama, its adapters, the application, and a client."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from transformers import LlamaForCausalLM

from motet.adapter_places import NOWHERE, AdapterPlaces
from motet.engine import Engine, EngineStatus
from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.start.build import build
from motet.server.app import create_app
from motet.server.http.config import ServerConfig
from motet.server.http.connection import Connection
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.model_factory import CHAT_TEMPLATE, make_llama, make_tokenizer

MAX_MODEL_LEN = 16_384
POOL_BYTES = 16 * 2**20
HANG_S = 60
"""Nothing here takes as long, unless it never ends."""

TEMPLATE = CHAT_TEMPLATE + "{%- if is_loud %}LOUD {% endif %}"
"""With a switch for `chat_template_kwargs`."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Models:
    """Directories that a server can serve."""

    base: Path
    adapters: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Surface:
    """One of the two ways to ask for text, and where its answers have what both have."""

    path: str
    beginning: Json
    """The prompt in its form."""
    text: Callable[[Json], str]
    """Of a choice, whole or in a chunk."""


SURFACES = {
    "completions": Surface("/v1/completions", {"prompt": "hello"}, lambda choice: choice["text"]),
    "chat": Surface(
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hello"}]},
        lambda choice: (choice.get("message") or choice["delta"]).get("content") or "",
    ),
}
CHAT = SURFACES["chat"]
both_surfaces = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)


def only_choice(answer: dict[str, Any]) -> dict[str, Any]:
    """The one that an answer has."""
    [choice] = answer["choices"]
    assert isinstance(choice, dict)
    return choice


class Api:
    """A plain client of one server: it knows paths and JSON, and nothing of motet's types."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def ask(self, surface: Surface = SURFACES["completions"], **fields: Any) -> Json:
        """The body of an answer."""
        answer = self.http.post(surface.path, json=surface.beginning | fields)
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    def text(self, surface: Surface = SURFACES["completions"], **fields: Any) -> str:
        """Of the only choice."""
        [choice] = self.ask(surface, **fields)["choices"]
        return surface.text(choice)

    def stream(self, surface: Surface = SURFACES["completions"], **fields: Any) -> list[Json]:
        """The chunks of a streamed answer, which [DONE] ends."""
        events = self.events(surface, **fields)
        assert events.pop() == "[DONE]"
        return [json.loads(event) for event in events]

    def events(self, surface: Surface = SURFACES["completions"], **fields: Any) -> list[str]:
        """The data of each server-sent event."""
        wish = surface.beginning | fields | {"stream": True}
        answer = self.http.post(surface.path, json=wish)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, rest = answer.text.split("\n\n")
        assert rest == ""
        assert all(event.startswith("data: ") for event in events)
        return [event.removeprefix("data: ") for event in events]

    def refusal(
        self, surface: Surface = SURFACES["completions"], status: int = 400, **fields: Any
    ) -> Json:
        """The error that a request is answered with."""
        answer = self.http.post(surface.path, json=surface.beginning | fields)
        return error_in(answer, status)

    def metric(self, series: str) -> float:
        lines = self.http.get("/metrics").text.splitlines()
        [value] = [line.split()[-1] for line in lines if line.startswith(f"{series} ")]
        return float(value)


def error_in(answer: httpx.Response, status: int) -> Json:
    """The error of an answer, in OpenAI's nested shape."""
    assert answer.status_code == status, answer.text
    body: Json = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: Json = body["error"]
    return error


def make_models(directory: Path) -> Models:
    """Equal calls, equal bytes."""
    base = make_llama(directory / "tiny", max_position_embeddings=MAX_MODEL_LEN)
    make_tokenizer(base, TEMPLATE)
    model = LlamaForCausalLM.from_pretrained(base)
    kinds = {"legal": "all-linear", "medical": "query-value"}
    adapters = {
        name: save_adapter(model, directory / name, ADAPTER_KINDS[kind], seed)
        for seed, (name, kind) in enumerate(kinds.items())
    }
    return Models(base, adapters)


@contextmanager
def serving(
    models: Models,
    *,
    pool_bytes: int = POOL_BYTES,
    max_model_len: int | None = None,
    change: Callable[[EngineCore], EngineCore] = lambda core: core,
    places: AdapterPlaces = NOWHERE,
    **options: Any,
) -> Iterator[Api]:
    """A client of a server that is ready. `change` may put something else into the engine.

    Adapters may come from `places` later.
    """
    config = EngineConfig(
        str(models.base),
        tuple((name, str(path)) for name, path in models.adapters.items()),
        ModelConfig("cpu", max_model_len=max_model_len),
        PoolConfig(pool_bytes),
    )
    engine = Engine(lambda: change(build(config, lambda *_: None, poison_released=True)))
    app = create_app(engine, ServerConfig(**options), places=places)
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", log_level="error"))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=HANG_S) as http:
                until(lambda: engine.status is not EngineStatus.LOADING)
                assert engine.status is EngineStatus.READY, "the engine could not load"
                until(lambda: http.get("/ready").is_success)
                yield Api(http)
        finally:
            server.should_exit = True
            thread.join()


def until(happened: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline_s = time.monotonic() + HANG_S
    while not happened():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.01)
