"""The HTTP/1.1 connection of one client: uvicorn's, with bounds and with our errors."""

import asyncio
from typing import Any, cast

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from motet.errors import (
    HeadersTooLarge,
    MotetError,
    RequestError,
    RequestTooSlow,
    TooManyConnections,
    UrlTooLong,
)
from motet.server.http.errors import response_to
from motet.server.http.request_ids import HEADER, new_id

MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers, and of all else that is not body."""

MAX_URL_BYTES = 16 * 1024

HEAD_S = 10.0
"""From the first byte of a request, or of a connection, to the end of its headers."""

BODY_S = 30.0
"""From the first byte of a request to its last."""

STALL_S = 60.0
"""A client may take nothing of an answer for this long; then it is cut off."""

LINGER_S = 2.0
"""A refused client may go on sending this long, unheard; cut off, it might not read why."""

_PIECE_BYTES = 4096  # parsed at once: a bound is noticed this late


class Connection(HttpToolsProtocol):
    """Refuses in the nested shape what uvicorn refuses in plain text, or not at all.

    A client that stops reading makes uvicorn stop writing: then at most what its request may
    still generate is kept for it, and not for long.
    """

    _num_unbounded_bytes = 0
    """Read since the request began, or since the last of its body."""
    _is_refused = False
    url = b""
    """Of the request that came last, as far as it is known."""
    _arrival: asyncio.TimerHandle | None = None
    """Runs while a request is arriving, and until the first one does."""
    _began_s: float | None = None
    """When the first byte of the request that is arriving came."""
    _stall: asyncio.TimerHandle | None = None
    """Runs while the client takes less than there is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_connections = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn would refuse by it too, and in plain text

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._max_connections is not None and len(self.connections) > self._max_connections:
            most = self._max_connections
            self._refuse(TooManyConnections(f"{most} connections are open: try again soon"))
        else:
            self._arrive_within(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_arrival()
        self._stop_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        if self._arrival is None and (self.cycle is None or self.cycle.response_complete):
            self._arrive_within(HEAD_S)  # blank lines before a request do not begin it
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                self._parse(data[start : start + _PIECE_BYTES])
        except httptools.HttpParserUpgrade:
            pass  # no other protocol is spoken here: the request is answered as if it had not asked
        except httptools.HttpParserError:
            self._refuse(RequestError("this is not HTTP/1.1 as we read it", code="invalid_http"))
        except RequestError as error:
            self._refuse(error)

    def on_message_begin(self) -> None:
        self._num_unbounded_bytes = 0
        self._began_s = self.loop.time()
        self._arrive_within(HEAD_S)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        assert self._began_s is not None
        self._arrive_within(self._began_s + BODY_S - self.loop.time())
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, _Lingering(self))

    def on_message_complete(self) -> None:
        self._stop_arrival()
        super().on_message_complete()
        self.cycle.more_body = False  # uvicorn forgets to where the answer came first

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_stall()
        super().resume_writing()

    def on_body(self, body: bytes) -> None:
        self._num_unbounded_bytes = 0  # the application bounds the body
        super().on_body(body)

    def _parse(self, piece: bytes) -> None:
        self.parser.feed_data(piece)
        self._num_unbounded_bytes += len(piece)
        if len(self.url) > MAX_URL_BYTES:
            raise UrlTooLong(
                f"the URL is longer than {MAX_URL_BYTES // 1024} KiB: shorten it",
                code="url_too_long",
            )
        if self._num_unbounded_bytes > MAX_HEAD_BYTES:
            raise HeadersTooLarge(
                f"the headers are larger than {MAX_HEAD_BYTES // 1024} KiB: send less",
                code="headers_too_large",
            )

    def _arrive_within(self, seconds: float) -> None:
        if self._arrival:
            self._arrival.cancel()
        self._arrival = self.loop.call_later(seconds, self._on_late)

    def _on_late(self) -> None:
        """The client has not sent a whole request in time."""
        if self.flow.read_paused or self.pipeline:  # we do not listen: it is not to blame
            self._arrive_within(BODY_S)
        elif self._began_s is None:  # there is no request to answer
            self.transport.close()
        else:
            self._refuse(
                RequestTooSlow(
                    f"the request did not arrive in time: headers may take {HEAD_S:.0f} s, all of "
                    f"it {BODY_S:.0f} s",
                    code="timeout",
                )
            )

    def _watch_reader(self, num_bytes: int) -> None:
        self._stop_stall()
        self._stall = self.loop.call_later(STALL_S, self._on_stall, num_bytes)

    def _on_stall(self, num_bytes: int) -> None:
        """Of the answer, `num_bytes` had not been taken when the clock was set."""
        left = self.transport.get_write_buffer_size()
        if left < num_bytes:  # slow, but a reader
            self._watch_reader(left)
        else:
            self.transport.abort()

    def _stop_arrival(self) -> None:
        if self._arrival:
            self._arrival.cancel()
        self._arrival = self._began_s = None

    def _stop_stall(self) -> None:
        if self._stall:
            self._stall.cancel()
        self._stall = None

    def _refuse(self, error: MotetError) -> None:
        """Answer and close. An answer to an earlier request that is still to come is the last."""
        self._stop_arrival()
        cycle = self.cycle
        if cycle and cycle.response_complete and cycle.more_body:  # this one has its answer
            self.transport.close()
            return
        if cycle and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        response = response_to(error)
        response.headers["Connection"] = "close"
        response.headers[HEADER] = new_id()
        self.transport.write(self._encode(response))
        if cycle and not cycle.response_complete:  # what the application says now comes too late
            cycle.disconnected = True
            cycle.message_event.set()
        self._linger()

    def close(self) -> None:
        """At the end of an answer; a client that still sends its body may go on for a while."""
        if self.cycle.more_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._is_refused = True
        self._stop_arrival()
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _encode(self, response: Response) -> bytes:
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [b"%b: %b\r\n" % header for header in headers]
        return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body])


class _Lingering:
    """The transport that an answer closes: cut off while it sends, a client might not read it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)
