"""Work ends with its client, and not by chance of garbage collection."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from motet.server.http.stream import EventStream, while_connected

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}, "headers": []}


async def leave() -> Message:
    """What the server reads from a client that goes after a moment."""
    await asyncio.sleep(0.01)
    return {"type": "http.disconnect"}


async def stay() -> Message:
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


async def test_a_stream_is_closed_when_its_client_leaves() -> None:
    is_closed = False

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal is_closed
        try:
            while True:
                yield b"data: {}\n\n"
        finally:
            is_closed = True

    async def send(message: Message) -> None:
        await asyncio.sleep(0)

    events = endless()  # this name keeps it from the garbage collector
    await EventStream(events, {})(SCOPE, leave, send)
    assert is_closed


async def test_work_is_cancelled_when_its_client_leaves() -> None:
    is_cancelled = False

    async def work() -> None:
        nonlocal is_cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            is_cancelled = True
            raise

    with pytest.raises(ClientDisconnect):
        await while_connected(Request(SCOPE, leave), work())
    assert is_cancelled


async def test_work_that_is_done_is_answered() -> None:
    async def work() -> int:
        return 5

    assert await while_connected(Request(SCOPE, stay), work()) == 5


async def test_work_that_fails_raises() -> None:
    async def work() -> int:
        raise ValueError("told")

    with pytest.raises(ValueError, match="told"):
        await while_connected(Request(SCOPE, stay), work())
