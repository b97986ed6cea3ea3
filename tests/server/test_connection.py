"""What is not a proper request, on a real socket: refused in our shape, whatever is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet.server.body import MAX_BODY_BYTES
from motet.server.connection import MAX_HEAD_BYTES
from tests.server.scripted import ScriptedCore, an_info, hesitates, listening, says

pytestmark = pytest.mark.anyio

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"model": "base", "prompt": [5], "max_tokens": 1}).encode()
COMPLETION = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture
async def url(model_dir: Path) -> AsyncIterator[str]:
    async with listening(ScriptedCore(says(100), an_info(model_dir))) as url:
        yield url


async def exchange(url: str, *pieces: bytes) -> bytes:
    """Everything that the server sends until it closes; it has to."""
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    async with asyncio.timeout(20):
        for piece in pieces:
            writer.write(piece)
        answer = await reader.read()
    writer.close()
    return answer


def refusal(answer: bytes) -> tuple[int, Any]:
    """Status and error of the only answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    assert "content-type: application/json" in lines
    assert "connection: close" in lines
    assert any(line.startswith("x-request-id: ") for line in lines)
    [(key, error)] = json.loads(body).items()
    assert key == "error" and set(error) == {"message", "type", "param", "code"}
    return int(lines[0].split()[1]), error


MALFORMED = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
    "text": b"hello\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\n\r\n",
    "header without colon": GET + b"oops\r\n\r\n",
    "NUL in a header": GET + b"A: \0\r\n\r\n",
    "path that is no ASCII": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_not_http_is_refused_in_our_shape(
    url: str, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, error = refusal(await exchange(url, request_))
    assert (status, error["code"]) == (400, "invalid_http")
    assert not caplog.records


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
OVERSIZED = {
    "long header": (GET + b"A: ", b"b" * 1_000_000),
    "long name": (GET, b"a" * 1_000_000),
    "many headers": (GET, b"A: b\r\n" * 50_000),
    "long path": (b"GET /", b"a" * 1_000_000),
    "trailers": (CHUNKED, b"A: b\r\n" * 50_000),
}


@pytest.mark.parametrize("pieces", OVERSIZED.values(), ids=OVERSIZED.keys())
async def test_headers_without_end_are_refused(url: str, pieces: tuple[bytes, ...]) -> None:
    status, error = refusal(await exchange(url, *pieces))
    assert (status, error["code"]) == (431, "headers_too_large")


async def test_large_headers_are_fine(url: str) -> None:
    async with httpx.AsyncClient() as client:
        headers = {"Authorization": "x" * (MAX_HEAD_BYTES - 1000)}
        assert (await client.get(f"{url}/health", headers=headers)).status_code == 200


async def test_small_chunks_are_no_headers(url: str) -> None:
    body = b'{"model": "base", "prompt": [5], "user": "%b"}' % (b"u" * 20_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchange(url, head, chunks, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_junk_behind_a_request_does_not_take_its_answer(model_dir: Path) -> None:
    slow = ScriptedCore(hesitates, an_info(model_dir))
    async with listening(slow) as url:
        answer = await exchange(url, COMPLETION + b"JUNK JUNK\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_another_protocol_is_not_spoken_and_not_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/health", headers=headers)).status_code == 200
    assert not caplog.records


async def test_a_client_that_sends_too_much_reads_why(url: str) -> None:
    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(
            f"{url}/v1/completions", content=b" " * (4 * MAX_BODY_BYTES), headers=headers
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"
        assert (await client.get(f"{url}/health")).status_code == 200


async def test_head_is_get_without_a_body(url: str) -> None:
    answer = await exchange(url, b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
