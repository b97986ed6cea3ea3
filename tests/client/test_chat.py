"""Conversations: what is remembered, and what is not."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import httpx
import pytest

from motet.client.chat import Conversation
from motet.client.client import Client
from motet.client.protocol import ChatMessage, ChatRequest
from motet.errors import ServerError

SYSTEM = ChatMessage(role="system", content="Be brief.")
REQUEST = ChatRequest(model="base", messages=[SYSTEM], temperature=0.5)

Said = list[tuple[str, str]]


class Server:
    """Answers each message with `re: ` and the message, in two pieces; refuses "fail"."""

    def __init__(self) -> None:
        self.requests: list[dict[str, object]] = []

    def messages(self, index: int) -> Said:
        messages = self.requests[index]["messages"]
        assert isinstance(messages, list)
        return [(message["role"], message["content"]) for message in messages]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(json.loads(request.content))
        [*_, (_, text)] = self.messages(-1)
        if text == "fail":
            return httpx.Response(500, json={"error": {"message": "no"}})
        return httpx.Response(200, content=self._events(["re: ", text]))

    async def _events(self, pieces: list[str]) -> AsyncGenerator[bytes]:
        for piece in ["", *pieces]:
            choice = {"index": 0, "delta": {"content": piece}}
            yield f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
        yield b"data: [DONE]\n\n"


def converse(talk: Callable[[Conversation], Awaitable[None]]) -> Server:
    server = Server()

    async def run() -> None:
        async with Client("http://motet", transport=httpx.MockTransport(server)) as client:
            await talk(Conversation(client, REQUEST))

    asyncio.run(run())
    return server


async def hear(conversation: Conversation, text: str) -> str:
    return "".join([piece async for piece in conversation.say(text)])


def test_both_sides_are_remembered() -> None:
    async def talk(conversation: Conversation) -> None:
        assert await hear(conversation, "a") == "re: a"
        assert await hear(conversation, "b") == "re: b"

    server = converse(talk)
    start = [("system", "Be brief."), ("user", "a")]
    assert server.messages(0) == start
    assert server.messages(1) == [*start, ("assistant", "re: a"), ("user", "b")]
    assert [request["temperature"] for request in server.requests] == [0.5, 0.5]
    assert [request["stream"] for request in server.requests] == [True, True]


def test_a_reset_forgets_all_but_the_start() -> None:
    async def talk(conversation: Conversation) -> None:
        await hear(conversation, "a")
        conversation.reset()
        await hear(conversation, "b")

    assert converse(talk).messages(1) == [("system", "Be brief."), ("user", "b")]


def test_another_model_goes_on_with_the_same_conversation() -> None:
    async def talk(conversation: Conversation) -> None:
        await hear(conversation, "a")
        conversation.model = "adapter"
        await hear(conversation, "b")

    server = converse(talk)
    assert [request["model"] for request in server.requests] == ["base", "adapter"]
    assert len(server.messages(1)) == 4


def test_a_message_that_failed_was_never_said() -> None:
    async def talk(conversation: Conversation) -> None:
        with pytest.raises(ServerError, match="no"):
            await hear(conversation, "fail")
        await hear(conversation, "b")

    assert converse(talk).messages(1) == [("system", "Be brief."), ("user", "b")]


def test_an_answer_cut_short_is_remembered_as_far_as_it_came() -> None:
    async def talk(conversation: Conversation) -> None:
        async with aclosing(conversation.say("a")) as pieces:
            assert await anext(pieces) == "re: "
        await hear(conversation, "b")

    expected = [("user", "a"), ("assistant", "re: "), ("user", "b")]
    assert converse(talk).messages(1) == [("system", "Be brief."), *expected]
