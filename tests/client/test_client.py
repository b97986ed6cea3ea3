"""The client against answers of many kinds, right and wrong."""

import asyncio
from collections.abc import Callable

import httpx
import msgspec
import pytest

from motet.client.client import ChatPiece, Chunk, Client, Model
from motet.client.protocol import ChatMessage, ChatRequest, CompletionRequest
from motet.errors import ServerError

REQUEST = CompletionRequest(model="base", prompt=[1, 2], stream=True)
EVENTS = b"""\
data: {"id": "1", "choices": [{"index": 0, "text": "a"}]}

data: {"id": "1", "choices": [{"index": 0, "text": "b", "finish_reason": "length"}]}

data: {"id": "1", "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 2}}

data: [DONE]

"""


def models(answer: Callable[[httpx.Request], httpx.Response]) -> list[Model]:
    async def ask() -> list[Model]:
        async with Client("http://motet/", transport=httpx.MockTransport(answer)) as client:
            return await client.models()

    return asyncio.run(ask())


def stream(status: int, content: bytes) -> list[Chunk]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://motet/v1/completions"
        assert request.content == b'{"model":"base","stream":true,"prompt":[1,2]}'
        return httpx.Response(status, content=content)

    async def ask() -> list[Chunk]:
        async with Client("http://motet", transport=httpx.MockTransport(answer)) as client:
            return [chunk async for chunk in client.stream_completion(REQUEST)]

    return asyncio.run(ask())


def chat(content: bytes) -> list[ChatPiece]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://motet/v1/chat/completions"
        return httpx.Response(200, content=content)

    async def ask() -> list[ChatPiece]:
        request = ChatRequest(messages=[ChatMessage(role="user", content="x")], stream=True)
        async with Client("http://motet", transport=httpx.MockTransport(answer)) as client:
            return [piece async for piece in client.stream_chat(request)]

    return asyncio.run(ask())


def test_models_of_any_server_are_read() -> None:
    served = [{"id": "base", "vocab_size": 99}, {"id": "other", "owned_by": "someone"}]
    expected = [Model(id="base", vocab_size=99), Model(id="other")]
    assert models(lambda _: httpx.Response(200, json={"data": served})) == expected


def test_a_stream_is_its_pieces_then_its_usage() -> None:
    first, second, last = stream(200, EVENTS)
    assert [chunk.choices[0].text for chunk in (first, second)] == ["a", "b"]
    assert second.choices[0].finish_reason == "length"
    assert last.usage and last.usage.completion_tokens == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("text", ["a\u2028b", "a\u0085b", "\u000b"])
def test_only_what_ends_a_line_of_events_ends_one(text: str, end: bytes) -> None:
    piece = msgspec.json.encode({"choices": [{"text": text}]})
    [chunk] = stream(200, b"data: %b%bdata: [DONE]%b" % (piece, end * 2, end))
    assert chunk.choices[0].text == text


def test_a_chat_stream_is_its_pieces() -> None:
    content = b"""\
data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}

data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}

data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

data: [DONE]

"""
    pieces = chat(content)
    assert [piece.choices[0].delta.content for piece in pieces] == ["", "Hi", None]
    assert pieces[-1].choices[0].finish_reason == "stop"


def test_a_chat_stream_that_breaks_off_is_an_error() -> None:
    with pytest.raises(ServerError, match="broke off its answer: engine"):
        chat(b'data: {"error": {"message": "engine failed"}}\n\n')


def test_what_is_no_text_is_not_sent() -> None:
    async def ask() -> None:
        message = ChatMessage(role="user", content="\udcff")
        async with Client("http://motet") as client:
            await anext(client.stream_chat(ChatRequest(messages=[message], stream=True)))

    with pytest.raises(ServerError, match="no UTF-8"):
        asyncio.run(ask())


@pytest.mark.parametrize(("key", "header"), [("secret", "Bearer secret"), (None, None)])
def test_a_key_goes_with_each_request(key: str | None, header: str | None) -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        return httpx.Response(200, json={"data": []})

    async def ask() -> None:
        transport = httpx.MockTransport(answer)
        async with Client("http://motet", api_key=key, transport=transport) as client:
            await client.models()

    asyncio.run(ask())
    assert seen == [header]


def test_a_refusal_carries_status_and_message() -> None:
    with pytest.raises(ServerError, match="answered 404: no such model") as refusal:
        stream(404, b'{"error": {"message": "no such model", "type": "not_found_error"}}')
    assert refusal.value.status == 404


def test_a_refusal_that_is_not_json_is_shown() -> None:
    with pytest.raises(ServerError, match="answered 502: Bad Gateway"):
        stream(502, b"Bad Gateway\nsecond line")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (EVENTS.replace(b"data: [DONE]", b""), "broke off before its end"),
        (b'data: {"error": {"message": "engine failed"}}\n\n', "broke off its answer: engine"),
        (b"data: nonsense\n\n", "answered 'nonsense'"),
    ],
)
def test_an_answer_that_ends_badly_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(ServerError, match=message) as failure:
        stream(200, content)
    assert failure.value.status is None


def test_a_server_that_is_not_there_is_named() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(ServerError, match="no answer from http://motet: connection refused"):
        models(refuse)


def test_an_answer_of_another_kind_of_server_is_an_error() -> None:
    with pytest.raises(ServerError, match="not OpenAI's format"):
        models(lambda _: httpx.Response(200, content=b"<html>"))
