"""The HTTP/1.1 connection of one client: uvicorn's, with bounds and with our errors."""

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from motet.errors import HeadersTooLarge, RequestError
from motet.server.errors import response_to
from motet.server.request_ids import HEADER, new_id

MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers, and of all else that is not body."""

LINGER_S = 2.0
"""A refused client may go on sending this long, unheard; cut off, it might not read why."""

_PIECE_BYTES = 4096  # parsed at once: a bound is noticed this late


class Connection(HttpToolsProtocol):
    """Refuses in the nested shape what uvicorn refuses in plain text, or not at all."""

    _num_unbounded_bytes = 0
    """Read since the request began, or since the last of its body."""
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                self._parse(data[start : start + _PIECE_BYTES])
        except httptools.HttpParserUpgrade:
            pass  # no other protocol is spoken here: the request is answered as if it had not asked
        except httptools.HttpParserError:
            self._refuse(RequestError("this is not HTTP/1.1 as we read it", code="invalid_http"))
        except HeadersTooLarge as error:
            self._refuse(error)

    def on_message_begin(self) -> None:
        self._num_unbounded_bytes = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._num_unbounded_bytes = 0  # the application bounds the body
        super().on_body(body)

    def _parse(self, piece: bytes) -> None:
        self.parser.feed_data(piece)
        self._num_unbounded_bytes += len(piece)
        if self._num_unbounded_bytes > MAX_HEAD_BYTES:
            raise HeadersTooLarge(
                f"the headers are larger than {MAX_HEAD_BYTES // 1024} KiB: send less",
                code="headers_too_large",
            )

    def _refuse(self, error: RequestError) -> None:
        """Answer and close. An answer to an earlier request that is still to come is the last."""
        if self.cycle and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        response = response_to(error)
        response.headers["Connection"] = "close"
        response.headers[HEADER] = new_id()
        self._is_refused = True
        self.transport.write(self._encode(response))
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _encode(self, response: Response) -> bytes:
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [b"%b: %b\r\n" % header for header in headers]
        return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body])
