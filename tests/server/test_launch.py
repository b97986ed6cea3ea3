"""The server from a bound port to a clean stop, around an engine that plays a script."""

import asyncio
import json
import os
import resource
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx
import pytest

from motet.engine import AdapterMirror, Engine, EngineInfo
from motet.engine.core import EngineCore
from motet.errors import ConfigError, ModelError
from motet.loading_bars import LoadingBars
from motet.server import launch
from motet.server.http.banner import QUESTION, banner
from motet.server.http.config import ServerConfig
from motet.server.http.open_files import MAX_CONNECTIONS, connection_limit
from motet.server.text.formats import PromptFormats
from motet.server.text.prompt_format import PromptFormat
from motet.server.text.selection import Names
from motet.server.text.served import Served
from motet.server.text.template import ChatTemplate
from motet.server.text.tokenizer import Tokenizer
from tests.curl import curls_in
from tests.engine.factories import an_adapter
from tests.server.scripted import Script, ScriptedCore, an_info, babbles, rushes

CONFIG = ServerConfig(port=0, served_model_name="base")


class Launch:
    """A server that loads until it is released."""

    def __init__(
        self,
        model: Path,
        script: Script = babbles,
        failure: Exception | None = None,
        drain_seconds: float = 5,
    ) -> None:
        self._config = replace(CONFIG, drain_seconds=drain_seconds)
        self._core = ScriptedCore(script, an_info(model, max_model_len=1_000_000))
        self._failure = failure
        self._released = threading.Event()
        self.bars = LoadingBars()
        self._listener = launch.listen(CONFIG)
        # Small, so that it is soon seen who does not read; connections inherit it.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        self.url = launch.url_of(self._listener)

    def start(self) -> asyncio.Task[None]:
        running = launch.serve(Engine(self._load), self._config, self._listener, self.bars)
        return asyncio.create_task(running)

    def release(self) -> None:
        self._released.set()

    def _load(self) -> EngineCore:
        while not self._released.wait(0.01):
            self.bars.progress("weights", 1, 2)
        if self._failure:
            raise self._failure
        return cast(EngineCore, self._core)


async def status(url: str) -> int:
    async with httpx.AsyncClient(timeout=30) as client:
        return (await client.get(url)).status_code


async def until_ready(url: str) -> None:
    while await status(f"{url}/ready") != 200:
        await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_it_answers_while_it_loads_then_announces_and_stops_at_a_signal(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = Launch(model_dir)
    running = started.start()
    assert await status(f"{started.url}/health") == 200
    assert await status(f"{started.url}/ready") == 503
    assert capsys.readouterr().out == ""
    started.release()
    await until_ready(started.url)
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert started.url in capsys.readouterr().out


@pytest.mark.anyio
async def test_a_signal_while_loading_ends_loading(model_dir: Path) -> None:
    started = Launch(model_dir)
    running = started.start()
    assert await status(f"{started.url}/health") == 200
    os.kill(os.getpid(), signal.SIGINT)
    await running


@pytest.mark.anyio
async def test_an_endless_answer_is_ended_with_an_error(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = Launch(model_dir, drain_seconds=0.2)
    running = started.start()
    started.release()
    await until_ready(started.url)
    wish = {"model": "base", "prompt": [1], "max_tokens": 100_000, "stream": True}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{started.url}/v1/completions", json=wish) as answer,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        lines = [line async for line in answer.aiter_lines() if line]
    await running
    assert "the server is stopping" in lines[-1]
    assert capsys.readouterr().err == ""


ENDLESS = {"model": "base", "prompt": [1], "max_tokens": 100_000, "stream": True}


@pytest.mark.anyio
async def test_while_an_answer_goes_on_nothing_begins_and_probes_are_told(model_dir: Path) -> None:
    started = Launch(model_dir, drain_seconds=30)
    running = started.start()
    started.release()
    await until_ready(started.url)
    async with (
        httpx.AsyncClient(base_url=started.url) as client,
        httpx.AsyncClient(base_url=started.url) as kept_alive,
    ):
        assert (await kept_alive.get("/ready")).status_code == 200
        wish = ENDLESS | {"max_tokens": 500}
        async with client.stream("POST", "/v1/completions", json=wish) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            os.kill(os.getpid(), signal.SIGTERM)
            refused = await kept_alive.get("/ready")
            while refused.status_code == 200:  # the signal is not noticed yet
                refused = await kept_alive.get("/ready")
            refusals = [refused]
            for path in ("/v1/models", "/ready"):
                async with httpx.AsyncClient(base_url=started.url) as newcomer:
                    refusals.append(await newcomer.get(path))
                    assert (await newcomer.get("/health")).status_code == 200
            rest = [line async for line in lines if line]
    await running
    for refusal in refusals:
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "draining")
        assert (refusal.headers["retry-after"], refusal.headers["connection"]) == ("1", "close")
    assert rest[-1] == "data: [DONE]"


@pytest.mark.anyio
async def test_without_time_to_drain_answers_end_at_once(model_dir: Path) -> None:
    started = Launch(model_dir, drain_seconds=0)
    running = started.start()
    started.release()
    await until_ready(started.url)
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{started.url}/v1/completions", json=ENDLESS) as answer,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        lines = [line async for line in answer.aiter_lines() if line]
    await running
    assert "the server is stopping" in lines[-1]


@pytest.mark.anyio
async def test_a_client_that_does_not_read_cannot_keep_the_server(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "CUT_S", 0.2)
    started = Launch(model_dir, rushes, drain_seconds=0.5)
    running = started.start()
    started.release()
    await until_ready(started.url)
    address = httpx.URL(started.url)
    body = json.dumps(ENDLESS | {"max_tokens": 900_000, "logprobs": 20}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((address.host, address.port))
        client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert capsys.readouterr().err == ""


@pytest.mark.anyio
async def test_what_loading_raises_ends_the_server(model_dir: Path) -> None:
    started = Launch(model_dir, failure=ModelError("the weights are corrupt"))
    running = started.start()
    started.release()
    with pytest.raises(ModelError, match="corrupt"):
        await running


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 .* --port"):
            launch.listen(ServerConfig(port=port))


@pytest.mark.parametrize("host", ["no such host", "a" * 300, "é" * 70, ".", "\udcff"])
def test_what_is_no_host_is_named_in_a_few_characters(host: str) -> None:
    with pytest.raises(ConfigError, match=r"--host is .*: give one of this machine") as caught:
        launch.listen(ServerConfig(host=host, port=0))
    assert len(str(caught.value).encode()) < 200


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_the_url_is_one_that_works_on_this_machine(host: str, url: str) -> None:
    with launch.listen(ServerConfig(host=host, port=0)) as listener:
        assert launch.url_of(listener).startswith(url)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 3601])
def test_a_drain_takes_a_reasonable_time(seconds: float) -> None:
    with pytest.raises(ConfigError, match="--drain-seconds is"):
        ServerConfig(drain_seconds=seconds)


@pytest.mark.parametrize(
    ("hard", "expected"),
    [(1024, 768), (300, 150), (10**6, MAX_CONNECTIONS), (resource.RLIM_INFINITY, MAX_CONNECTIONS)],
)
def test_connections_leave_files_to_spare(
    hard: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    assert connection_limit() == expected
    assert asked == [(hard, hard)]


def the_banner(
    info: EngineInfo,
    tokenizer: Tokenizer,
    template: ChatTemplate | None = None,
    needs_key: bool = False,
) -> str:
    formats = PromptFormats(PromptFormat(template, info.eos_token_ids))
    served = Served(Names("base", AdapterMirror()), info, tokenizer, 0, formats)
    return banner(served, "http://127.0.0.1:8000", needs_key=needs_key)


def test_the_banner_counts_what_fits_into_the_pool(model_dir: Path, tokenizer: Tokenizer) -> None:
    info = an_info(model_dir, num_pages=100, page_bytes=65536, page_tokens=16)
    text = the_banner(info, tokenizer)
    assert "100 pages of 65,536 bytes (6.2 MiB)" in text
    assert "1,600 tokens, or 50 adapters of rank 16" in text


@pytest.mark.parametrize(
    ("num_adapters", "named"),
    [(0, "0 loaded, of rank up to 64\n"), (8, ", v7\n"), (9, ", v7, ...\n")],
)
def test_the_banner_names_the_first_adapters(
    num_adapters: int, named: str, model_dir: Path, tokenizer: Tokenizer
) -> None:
    adapters = tuple(an_adapter(f"v{number}") for number in range(num_adapters))
    assert named in the_banner(an_info(model_dir, adapters=adapters), tokenizer)


@pytest.mark.parametrize(
    ("num_adapters", "models"),
    [(0, ["base"]), (1, ["base", "v0"]), (5, ["base", "v0", "v1"])],
)
def test_the_banner_lets_one_try_the_base_model_and_two_adapters(
    num_adapters: int, models: list[str], model_dir: Path, tokenizer: Tokenizer
) -> None:
    adapters = tuple(an_adapter(f"v{number}") for number in range(num_adapters))
    text = the_banner(an_info(model_dir, adapters=adapters), tokenizer)
    assert [curl.body["model"] for curl in curls_in(text)] == models


def test_the_banner_asks_in_the_way_that_the_model_can_answer(
    model_dir: Path, tokenizer: Tokenizer
) -> None:
    info = an_info(model_dir, adapters=())
    [chat] = curls_in(the_banner(info, tokenizer, ChatTemplate("", {})))
    [text] = curls_in(the_banner(info, tokenizer))
    [ids] = curls_in(the_banner(info, Tokenizer(None)))
    assert chat.url.endswith("/v1/chat/completions")
    assert chat.body["messages"] == [{"role": "user", "content": QUESTION}]
    assert text.url.endswith("/v1/completions")
    assert text.body["prompt"] == QUESTION
    assert ids.body["prompt"] == [1, 2, 3]


def test_the_banner_takes_a_key_from_the_environment(model_dir: Path, tokenizer: Tokenizer) -> None:
    info = an_info(model_dir, adapters=())
    [open_to_all] = curls_in(the_banner(info, tokenizer))
    [guarded] = curls_in(the_banner(info, tokenizer, needs_key=True))
    assert "Authorization" not in open_to_all.headers
    assert guarded.headers["Authorization"] == "Bearer $MOTET_API_KEY"
