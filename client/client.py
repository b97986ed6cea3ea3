"""A small asyncio client of OpenAI-compatible servers.

It reads only what it needs of an answer, so that it can talk to other servers than motet as well.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from motet.client.protocol import ChatRequest, CompletionRequest, GenerationRequest
from motet.errors import ServerError

CONNECT_TIMEOUT_S = 10.0
EVENT = b"data: "
END_OF_STREAM = b"[DONE]"

T = TypeVar("T")
Piece = TypeVar("Piece", "Chunk", "ChatPiece")


class AdapterFacts(Struct, kw_only=True, frozen=True):
    """None is what the server has not read yet."""

    digest: str | None
    max_rank: int | None
    num_pages: int | None


class Model(Struct, kw_only=True, frozen=True):
    """A name that requests may use."""

    id: str
    root: str = ""
    """Where its files are."""
    vocab_size: int | None = None
    """Known of motet servers."""
    simulated_link_gbps: float | None = None
    """Of the base model of a motet server that says so."""
    adapter: AdapterFacts | None = None
    """Known of the adapters of motet servers."""


class Choice(Struct, kw_only=True, frozen=True):
    text: str = ""
    finish_reason: str | None = None


class TokenCounts(Struct, kw_only=True, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class Delta(Struct, kw_only=True, frozen=True):
    content: str | None = None


class ChatPieceChoice(Struct, kw_only=True, frozen=True):
    delta: Delta = Delta()
    finish_reason: str | None = None


class ErrorMessage(Struct, kw_only=True, frozen=True):
    message: str


class Chunk(Struct, kw_only=True, frozen=True):
    """The next piece of a streamed completion; the last one has `usage` and no choices."""

    choices: list[Choice] = []
    usage: TokenCounts | None = None
    error: ErrorMessage | None = None
    """Instead of all else; `Client` raises it."""


class ChatPiece(Struct, kw_only=True, frozen=True):
    """The next piece of a streamed chat answer; the last one has `usage` and no choices."""

    choices: list[ChatPieceChoice] = []
    usage: TokenCounts | None = None
    error: ErrorMessage | None = None


class Client:
    """Keeps connections open between requests. Methods raise ServerError and nothing of httpx."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`base_url` without `/v1`. An answer may take as long as it takes, a connection not."""
        self._base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            transport=transport,
            trust_env=False,  # no proxy between us and what we measure
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[Model]:
        """What the server serves, the base model first."""
        return (await self.get("/v1/models", _ModelList)).data

    async def get(self, path: str, kind: type[T], params: Mapping[str, str] | None = None) -> T:
        """The answer at `path`, as a `kind`."""
        return decode(await self._ask("GET", path, params=params), kind)

    async def post(self, path: str, body: Struct | None = None) -> bytes:
        """The answer to `body` at `path`."""
        return await self.send("POST", path, body)

    async def send(self, method: str, path: str, body: Struct | None = None) -> bytes:
        """The answer to `body` at `path`, sent by any method."""
        content = None if body is None else _body(body)
        return await self._ask(method, path, content=content)

    async def stream_completion(self, request: CompletionRequest) -> AsyncGenerator[Chunk]:
        """The answer as it is generated; ends with the usage if `stream_options` asks for it.

        `request.stream` must be set. Closing the iterator early ends the request.
        """
        async with aclosing(self._stream("/v1/completions", request, Chunk)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stream_chat(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        """The next message of a conversation as it is generated, as `stream_completion`."""
        async with aclosing(self._stream("/v1/chat/completions", request, ChatPiece)) as pieces:
            async for piece in pieces:
                yield piece

    async def _stream(
        self, path: str, request: GenerationRequest, kind: type[Piece]
    ) -> AsyncGenerator[Piece]:
        try:
            async with self._http.stream(
                "POST",
                f"{self._base_url}{path}",
                content=_body(request),
                headers={"Content-Type": "application/json"},
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                async for event in _events(response):
                    if event == END_OF_STREAM:
                        return
                    yield _piece(event, kind)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        raise ServerError("the answer broke off before its end")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            response = await self._http.request(
                method, f"{self._base_url}{path}", content=content, params=params, headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refusal(response)
        return response.content

    def _unreachable(self, error: Exception) -> ServerError:
        return ServerError(f"no answer from {self._base_url}: {error or type(error).__name__}")


class _ModelList(Struct, kw_only=True, frozen=True):
    data: list[Model]


class _Refusal(Struct, kw_only=True, frozen=True):
    error: ErrorMessage


def _body(request: Struct) -> bytes:
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError as error:  # where a terminal or a pipe gave something else
        raise ServerError("the request cannot be sent: it has text that is no UTF-8") from error


async def _events(response: httpx.Response) -> AsyncGenerator[bytes]:
    """The data of each event. Only CR and LF end a line: Unicode has more, which JSON may hold."""
    rest = b""
    async for received in response.aiter_bytes():
        *lines, rest = (rest + received).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(EVENT):
                yield line.removeprefix(EVENT)


def _piece(event: bytes, kind: type[Piece]) -> Piece:
    piece = decode(event, kind)
    if piece.error is not None:
        raise ServerError(f"the server broke off its answer: {piece.error.message}")
    return piece


def _refusal(response: httpx.Response) -> ServerError:
    try:
        message = msgspec.json.decode(response.content, type=_Refusal).error.message
    except msgspec.DecodeError:
        message = response.text.partition("\n")[0]
    text = f"{response.url} answered {response.status_code}: {message}"
    return ServerError(text, status=response.status_code)


def decode(content: bytes, kind: type[T]) -> T:
    """An answer, as a `kind`. Raises ServerError."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        shown = content[:80].decode(errors="replace")
        raise ServerError(f"the server answered '{shown}', which is not OpenAI's format") from error
