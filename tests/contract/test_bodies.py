"""Requests made to break a server: refused by name, while a neighbour hears only its own tokens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from motet.client.protocol import ErrorDetail, ErrorResponse
from motet.server.http import connection
from motet.server.http.config import ServerConfig
from tests.contract.streams import as_whole, chunks_of
from tests.model_factory import make_tokenizer
from tests.server.scripted import listening
from tests.server.test_whole import a_core, a_wish, expected

pytestmark = pytest.mark.anyio

KEY = "secret"
AUTHORIZED = (("Authorization", f"Bearer {KEY}"),)
MEBIBYTE = 2**20

ROUTES = {
    "/v1/completions": b'"prompt": [5, 6]',
    "/v1/chat/completions": b'"messages": [{"role": "user", "content": "hello"}]',
}
"""Route -> what a good body has there."""

EACH_ROUTE = pytest.mark.parametrize("path", ROUTES)


@dataclass(frozen=True, slots=True)
class Bad:
    """What is wrong in a request that is otherwise good, and the answer to it."""

    status: int
    says: str
    """Words of the message."""
    param: str | None = None
    fields: bytes = b'"max_tokens": 3'
    """In the body, besides what the route needs."""
    num_spaces: int = 0
    """Behind the body."""
    headers: tuple[tuple[str, str], ...] = AUTHORIZED
    is_chunked: bool = False


SURROGATE = "in the body escapes half a surrogate pair"
HEADERS = "the headers are larger than 64 KiB"
BODY = "the body is larger than 4096 KiB"
NEEDS_KEY = "this server needs an API key"

BAD = {
    "NaN for an integer": Bad(400, "'n' in the body has NaN", "n", b'"n": NaN'),
    "NaN": Bad(400, "'temperature' in the body has NaN", "temperature", b'"temperature": NaN'),
    "more than a double": Bad(
        400, "'top_p' in the body has a number that is too large", "top_p", b'"top_p": 1e999'
    ),
    "half a surrogate pair": Bad(400, f"'stop' {SURROGATE}", "stop", rb'"stop": "\ud800"'),
    "half a pair in no field of ours": Bad(400, f"'x' {SURROGATE}", "x", rb'"x": ["\udfff"]'),
    "an integer of 4001 digits": Bad(
        400, f"'seed' is {'9' * 40}…: expected int <=", "seed", b'"seed": %b' % (b"9" * 4001)
    ),
    "a boolean for an integer": Bad(
        400, "'n' is true: expected int, got bool", "n", b'"n": true'
    ),
    "a string for an integer": Bad(
        400, "'max_tokens' is \"7\": expected int or null, got str", "max_tokens",
        b'"max_tokens": "7"',
    ),
    "a key twice": Bad(
        400, "'seed' in the body has the same key twice", "seed", b'"seed": 1, "seed": 2'
    ),
    "NUL in the model": Bad(
        404, r"the model 'base\x00' does not exist", "model", rb'"model": "base\u0000"'
    ),
    "NUL itself in the model": Bad(
        400, "the body is not valid JSON", None, b'"model": "base\0"'
    ),
    "200,000 levels": Bad(400, "the body is nested too deeply", None, b'"x": ' + b"[" * 200_000),
    "a header of 4 MB": Bad(431, HEADERS, headers=(*AUTHORIZED, ("A", "b" * 4 * MEBIBYTE))),
    "200,000 headers": Bad(431, HEADERS, headers=(*AUTHORIZED, *[("A", "b")] * 200_000)),
    "a body of 64 MiB": Bad(413, BODY, num_spaces=64 * MEBIBYTE),
    "a body of 64 MiB in chunks": Bad(413, BODY, num_spaces=64 * MEBIBYTE, is_chunked=True),
    "a host that looks like a path": Bad(401, NEEDS_KEY, headers=(("Host", "a/health?"),)),
}  # fmt: skip


class Canary:
    """Streams the same completion without a pause, each time with the tokens that are its own."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._is_over = False
        self._has_begun = asyncio.Event()

    @asynccontextmanager
    async def sings(self) -> AsyncIterator[None]:
        """While something happens. Fails after it if any token was another one."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sing())
            await self._has_begun.wait()
            yield
            self._is_over = True

    async def _sing(self) -> None:
        wish = a_wish(1, max_tokens=200)
        while not self._is_over:
            body = wish | {"stream": True}
            async with self._client.stream("POST", "/v1/completions", json=body) as answer:
                self._has_begun.set()
                text = (await answer.aread()).decode()
            [choice] = as_whole(chunks_of(text))["choices"]
            assert choice["token_ids"] == expected(wish)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A server on a socket that serves `base` and `a` to those who have the key."""
    core = a_core(make_tokenizer(tmp_path_factory.mktemp("bodies")))
    async with listening(core, ServerConfig(served_model_name="base", api_key=(KEY,))) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, headers=dict(AUTHORIZED), timeout=60) as client:
        yield client


@EACH_ROUTE
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_it_is_refused_by_name_and_touches_nobody(
    url: str, client: httpx.AsyncClient, bad: Bad, path: str
) -> None:
    async with Canary(client).sings(), httpx.AsyncClient(base_url=url, timeout=60) as offender:
        answer = await send(offender, path, bad)
    assert answer.status_code == bad.status, answer.text
    assert answer.headers["x-request-id"]
    error = error_of(answer.content)
    assert error.message.startswith(bad.says)
    assert error.param == bad.param
    await check_serves(client)


@EACH_ROUTE
async def test_a_request_drop_by_drop_is_refused_and_touches_nobody(
    url: str, client: httpx.AsyncClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    address = httpx.URL(url)
    async with Canary(client).sings():
        reader, writer = await asyncio.open_connection(address.host, address.port)
        answering = asyncio.create_task(reader.read())
        writer.write(b"POST %b HTTP/1.1\r\nA: " % path.encode())
        while not answering.done():
            writer.write(b"b")
            await asyncio.sleep(0.01)
        head, _, body = (await answering).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert error_of(body).message.startswith("the request did not arrive in time")
    await check_serves(client)


@EACH_ROUTE
async def test_a_host_that_looks_like_a_path_does_not_change_the_path(
    client: httpx.AsyncClient, path: str
) -> None:
    good = Bad(200, "", headers=(*AUTHORIZED, ("Host", "a/health?")))
    answer = await send(client, path, good)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 3


async def send(client: httpx.AsyncClient, path: str, bad: Bad) -> httpx.Response:
    body = b"{%b, %b}" % (ROUTES[path], bad.fields)
    content = body + b" " * bad.num_spaces
    headers = [("Content-Type", "application/json"), *bad.headers]
    pieces = in_pieces(content) if bad.is_chunked else content
    return await client.post(path, content=pieces, headers=headers)


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), MEBIBYTE):
        yield content[start : start + MEBIBYTE]


def error_of(body: bytes) -> ErrorDetail:
    """Fails unless `body` is exactly an error in the nested shape."""
    response = msgspec.json.decode(body, type=ErrorResponse)
    assert msgspec.json.encode(response) == body
    return response.error


async def check_serves(client: httpx.AsyncClient) -> None:
    """As if nothing had happened."""
    for path in ROUTES:
        answer = await send(client, path, Bad(200, ""))
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == 3
