"""What is not a proper request, on a real socket: refused in our shape, whatever is refused."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet.server.http import connection
from motet.server.http.body import MAX_BODY_BYTES
from motet.server.http.connection import MAX_HEAD_BYTES, MAX_URL_BYTES
from tests.server.scripted import (
    ScriptedCore,
    an_info,
    babbles,
    hesitates,
    listening,
    rushes,
    says,
    until,
)

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
HEADERS_TOO_LARGE = (431, "headers_too_large")
URL_TOO_LONG = (414, "url_too_long")
OVERSIZED = {
    "long header": (HEADERS_TOO_LARGE, GET + b"A: ", b"b" * 1_000_000),
    "long name": (HEADERS_TOO_LARGE, GET, b"a" * 1_000_000),
    "many headers": (HEADERS_TOO_LARGE, GET, b"A: b\r\n" * 50_000),
    "trailers": (HEADERS_TOO_LARGE, CHUNKED, b"A: b\r\n" * 50_000),
    "long path": (URL_TOO_LONG, b"GET /", b"a" * 1_000_000),
    "long query": (URL_TOO_LONG, b"GET /health?", b"a" * 2 * MAX_URL_BYTES, b" HTTP/1.1\r\n\r\n"),
}


@pytest.mark.parametrize("case", OVERSIZED.values(), ids=OVERSIZED.keys())
async def test_a_head_without_end_is_refused(
    url: str, case: tuple[tuple[int, str], *tuple[bytes, ...]]
) -> None:
    expected, *pieces = case
    status, error = refusal(await exchange(url, *pieces))
    assert (status, error["code"]) == expected


INCOMPLETE = {
    "request line": (b"GET /hea",),
    "headers": (GET, b"A: b"),
    "body of known length": (POST + b"Content-Length: 100\r\n\r\n", b"{"),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
}


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every time that a client has, keeping their order."""
    for name in ("HEAD_S", "BODY_S", "STALL_S"):
        monkeypatch.setattr(connection, name, getattr(connection, name) / 100)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("pieces", INCOMPLETE.values(), ids=INCOMPLETE.keys())
async def test_a_request_that_does_not_arrive_in_time_is_told_so(
    url: str, pieces: tuple[bytes, ...]
) -> None:
    status, error = refusal(await exchange(url, *pieces))
    assert (status, error["code"]) == (408, "timeout")


@pytest.mark.usefixtures("hurry")
async def test_one_byte_after_the_other_gains_no_time(url: str) -> None:
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    answer = asyncio.create_task(reader.read())
    writer.write(b"GET /")
    while not answer.done():
        writer.write(b"a")
        await asyncio.sleep(0.01)
    status, _ = refusal(await answer)
    assert status == 408
    writer.close()


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_connection_that_asks_nothing_is_closed_without_a_word(
    url: str, sent: bytes
) -> None:
    assert await exchange(url, sent) == b""


@pytest.mark.usefixtures("hurry")
async def test_an_answer_outlives_the_time_for_its_request(model_dir: Path) -> None:
    slow = ScriptedCore(babbles, an_info(model_dir, max_model_len=10_000))
    body = json.dumps({"model": "base", "prompt": [5], "max_tokens": 500}).encode()
    request = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with listening(slow) as url:
        answer = await exchange(url, request, b"\r\n")  # blank lines do not begin another
    assert b'"completion_tokens":500' in answer


@pytest.mark.usefixtures("hurry")
async def test_a_client_that_stops_reading_is_cut_off(model_dir: Path) -> None:
    endless = ScriptedCore(rushes, an_info(model_dir, max_model_len=10_000_000))
    wish = {"model": "base", "prompt": [5], "max_tokens": 9_000_000, "stream": True}
    body = json.dumps(wish | {"logprobs": 20}).encode()
    async with listening(endless) as url:
        address = httpx.URL(url)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((address.host, address.port))
            client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await until(lambda: bool(endless.aborted))


async def test_one_connection_too_many_is_told_so(model_dir: Path) -> None:
    core = ScriptedCore(says(100), an_info(model_dir))
    async with listening(core, max_connections=1) as url:
        address = httpx.URL(url)
        _, first = await asyncio.open_connection(address.host, address.port)
        await asyncio.sleep(0.05)
        status, error = refusal(await exchange(url, GET + b"\r\n"))
        assert (status, error["code"]) == (503, "too_many_connections")
        first.close()
        async with httpx.AsyncClient() as client:
            await asyncio.sleep(0.05)
            assert (await client.get(f"{url}/health")).status_code == 200


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


async def test_a_client_that_wants_to_close_reads_why_its_large_body_is_refused(url: str) -> None:
    body = b"x" * (4 * MAX_BODY_BYTES)
    headers = {"Content-Type": "application/json", "Connection": "close"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/v1/completions", content=body, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("head", [POST, GET.replace(b"GET", b"POST"), GET])
async def test_a_bad_chunk_leaves_nothing_in_the_log(
    url: str, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await exchange(url, head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n")
    status, error = refusal(answer)
    assert (status, error["code"]) == (400, "invalid_http")
    assert caplog.text == ""
