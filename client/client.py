"""A small asyncio client of OpenAI-compatible completion servers.

It reads only what it needs of an answer, so that it can talk to other servers than motet as well.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from motet.client.protocol import CompletionRequest
from motet.errors import ServerError

CONNECT_TIMEOUT_S = 10.0
EVENT = "data: "
END_OF_STREAM = "[DONE]"

T = TypeVar("T")


class Model(Struct, kw_only=True, frozen=True):
    """A name that requests may use."""

    id: str
    vocab_size: int | None = None
    """Known of motet servers."""


class Choice(Struct, kw_only=True, frozen=True):
    text: str = ""
    finish_reason: str | None = None


class TokenCounts(Struct, kw_only=True, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class ErrorMessage(Struct, kw_only=True, frozen=True):
    message: str


class Chunk(Struct, kw_only=True, frozen=True):
    """The next piece of a streamed completion; the last one has `usage` and no choices."""

    choices: list[Choice] = []
    usage: TokenCounts | None = None
    error: ErrorMessage | None = None
    """Instead of all else; `Client` raises it."""


class Client:
    """Keeps connections open between requests. Methods raise ServerError and nothing of httpx."""

    def __init__(self, base_url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`base_url` without `/v1`. An answer may take as long as it takes, a connection not."""
        self._base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
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

    async def models(self) -> list[Model]:
        """What the server serves, the base model first."""
        try:
            response = await self._http.get(f"{self._base_url}/v1/models")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refusal(response)
        return _decode(response.content, _ModelList).data

    async def stream_completion(self, request: CompletionRequest) -> AsyncIterator[Chunk]:
        """The answer as it is generated; ends with the usage if `stream_options` asks for it.

        `request.stream` must be set. Closing the iterator early ends the request.
        """
        try:
            async with self._http.stream(
                "POST",
                f"{self._base_url}/v1/completions",
                content=msgspec.json.encode(request),
                headers={"Content-Type": "application/json"},
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                async for line in response.aiter_lines():
                    if line.startswith(EVENT):
                        event = line.removeprefix(EVENT)
                        if event == END_OF_STREAM:
                            return
                        yield _chunk(event.encode())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        raise ServerError("the answer broke off before its end")

    def _unreachable(self, error: Exception) -> ServerError:
        return ServerError(f"no answer from {self._base_url}: {error or type(error).__name__}")


class _ModelList(Struct, kw_only=True, frozen=True):
    data: list[Model]


class _Refusal(Struct, kw_only=True, frozen=True):
    error: ErrorMessage


def _chunk(event: bytes) -> Chunk:
    chunk = _decode(event, Chunk)
    if chunk.error is not None:
        raise ServerError(f"the server broke off its answer: {chunk.error.message}")
    return chunk


def _refusal(response: httpx.Response) -> ServerError:
    try:
        message = msgspec.json.decode(response.content, type=_Refusal).error.message
    except msgspec.DecodeError:
        message = response.text.partition("\n")[0]
    text = f"{response.url} answered {response.status_code}: {message}"
    return ServerError(text, status=response.status_code)


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        shown = content[:80].decode(errors="replace")
        raise ServerError(f"the server answered '{shown}', which is not OpenAI's format") from error
