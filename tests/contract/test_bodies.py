"""Hostile requests, each answered as documented while a neighbour's tokens stay what they are."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from motet.client.protocol import ErrorResponse
from tests.cli.process import Server
from tests.contract.canary import Canary

MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Hostile:
    """A request, and how it is answered."""

    body: bytes
    status: int
    says: tuple[str, ...]
    """Parts of the message."""
    param: str | None = None
    headers: tuple[bytes, ...] = ()


def a_body(fields: str) -> bytes:
    return b'{"model": "tuned", "prompt": [5], "max_tokens": 1, %b}' % fields.encode()


REQUESTS = {
    "NaN": Hostile(a_body('"n": NaN'), 400, ("'n'", "NaN"), "n"),
    "NaN that an answer would repeat": Hostile(
        a_body('"temperature": NaN'), 400, ("'temperature'", "NaN"), "temperature"
    ),
    "a number beyond double precision": Hostile(
        a_body('"top_p": 1e999'), 400, ("'top_p'", "double precision"), "top_p"
    ),
    "a lone surrogate in a good field": Hostile(
        a_body(r'"user": "\ud800"'), 400, ("'user'", "surrogate"), "user"
    ),
    "a lone surrogate in a bad field": Hostile(
        a_body(r'"temperature": "\ud800"'), 400, ("'temperature'", "surrogate"), "temperature"
    ),
    "an integer of 4,001 digits": Hostile(a_body(f'"n": {"9" * 4001}'), 400, ("'n'",), "n"),
    "true for an integer": Hostile(a_body('"n": true'), 400, ("'n' is true", "int"), "n"),
    "text for an integer": Hostile(a_body('"n": "7"'), 400, ("'n' is \"7\"", "int"), "n"),
    "a key twice": Hostile(a_body('"n": 1, "n": 1'), 400, ("'n'", "twice"), "n"),
    "NUL in the name of a model": Hostile(
        b'{"model": "tu\\u0000ned", "prompt": [5]}', 404, ("model", "\\x00"), "model"
    ),
    "lists in lists without end": Hostile(
        a_body(f'"lora": {"[" * 200_000}{"]" * 200_000}'), 400, ("nested",)
    ),
    "lists in a prompt without end": Hostile(
        b'{"model": "tuned", "prompt": %b%b}' % (b"[" * 200_000, b"]" * 200_000), 400, ("nested",)
    ),
    "a header of 4 MB": Hostile(
        b"", 431, ("headers", "KiB"), headers=(b"X-Long: " + b"a" * 4_000_000,)
    ),
    "200,000 headers": Hostile(b"", 431, ("headers", "KiB"), headers=(b"X-Many: a",) * 200_000),
    "a body of 64 MiB": Hostile(b"[" + b" " * (64 << 20), 413, ("body", "KiB")),
}


@pytest.fixture(scope="module")
def canary(server: Server) -> Canary:
    return Canary(server.url)


@pytest.fixture
def neighbour(canary: Canary) -> Iterator[None]:
    """Asks the same again and again while a test runs, and once more after it."""
    is_over = threading.Event()
    wrong: list[AssertionError] = []

    def ask() -> None:
        try:
            while not is_over.is_set():
                canary.check()
            canary.check()
        except AssertionError as error:
            wrong.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    is_over.set()
    asking.join()
    assert not wrong


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_refused_by_name(server: Server, name: str) -> None:
    hostile = REQUESTS[name]
    status, body = send(server.port, hostile)
    assert status == hostile.status, body
    error = msgspec.json.decode(body, type=ErrorResponse).error
    for part in hostile.says:
        assert part in error.message
    assert error.param == hostile.param
    assert error.type == "invalid_request_error" or status == 404


@pytest.mark.usefixtures("neighbour")
def test_a_host_header_does_not_change_the_path(server: Server) -> None:
    asked = httpx.post(f"{server.url}/v1/nothing", headers={"Host": "a/health?"})
    assert asked.status_code in (400, 404)
    assert asked.json()["error"]["message"]
    assert httpx.get(f"{server.url}/health", headers={"Host": "a/v1/x?"}).status_code == 200


def send(port: int, hostile: Hostile) -> tuple[int, bytes]:
    """Status and body of the answer, which may come before all is sent."""
    head = [
        b"POST /v1/completions HTTP/1.1",
        b"Host: motet",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(hostile.body),
        *hostile.headers,
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        sender = threading.Thread(
            target=_send_all, args=(connection, b"\r\n".join([*head, b"", hostile.body]))
        )
        sender.start()
        return _read_answer(connection)


def _send_all(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # the server has heard enough
        connection.sendall(data)


def _read_answer(connection: socket.socket) -> tuple[int, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().splitlines()
    [length] = [int(line.split()[1]) for line in lines if line.startswith(b"content-length:")]
    while len(body) < length:
        body += _receive(connection)
    return int(head.split()[1]), body


def _receive(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    assert piece, "the server closed the connection in the middle of its answer"
    return piece
