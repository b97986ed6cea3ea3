"""Runs the HTTP server of one engine in this process, from a bound port to a clean stop."""

import asyncio
import contextlib
import errno
import reprlib
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from motet.adapter_places import NOWHERE, AdapterPlaces
from motet.engine import Engine
from motet.errors import ConfigError
from motet.loading_bars import LoadingBars
from motet.server.app import create_app
from motet.server.http.banner import banner
from motet.server.http.config import ServerConfig
from motet.server.http.connection import Connection
from motet.server.http.open_files import connection_limit
from motet.server.http.service import Service
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
CUT_S = 3.0
"""So long after the engine has ended all answers, clients that do not read theirs are cut off."""

DRAIN_POLL_S = 0.02
BACKLOG = 2048


def listen(config: ServerConfig) -> socket.socket:
    """Bind the port, so that a taken one is noticed before anything slow happens."""
    address = (config.host, config.port)
    try:
        [(family, *_), *_] = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError) as error:  # the latter where no host is named so
        raise ConfigError(
            f"--host is {reprlib.repr(config.host)}, which is no address here: "
            "give one of this machine, or 0.0.0.0 for all"
        ) from error
    except OSError as error:
        where = f"port {config.port} on {config.host}"
        raise ConfigError(f"{where} cannot be used: {_remedy(error)}") from error


def url_of(listener: socket.socket) -> str:
    """Where clients on this machine reach the server."""
    host, port = listener.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


async def serve(
    engine: Engine,
    config: ServerConfig,
    listener: socket.socket,
    bars: LoadingBars,
    given_formats: GivenFormats = NOTHING_GIVEN,
    places: AdapterPlaces = NOWHERE,
) -> None:
    """Answer from the start, load meanwhile, stop at a signal. Raises what loading raised."""
    app = create_app(engine, config, given_formats, places)
    service: Service = app.state.service
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",  # below, so that the end of loading is seen here
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # nothing is decided by what a client says of itself
            limit_concurrency=connection_limit(),
        ),
        service,
    )
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.create_task(service.ready())
        try:
            await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
            if loading.done() and not server.should_exit:
                bars.close()
                needs_key = bool(config.api_key)
                print(banner(loading.result(), url_of(listener), needs_key=needs_key), flush=True)
                await serving
        finally:
            bars.close()
            server.should_exit = True
            await asyncio.gather(loading, return_exceptions=True)  # its end was seen, or is ours
            await serving


class _Server(uvicorn.Server):
    """Drains at the first signal; the second one ends the process as if nobody listened to it.

    While it drains it goes on accepting connections. A load balancer learns only from the next
    probe that it should send no more: until then clients are told why and when to come back, the
    probe is told that the process lives but is not ready, and nobody meets a closed port.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running answers end, then end them; then close the port and every connection."""
        self._service.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._service.config.drain_seconds):
                while self.server_state.tasks:
                    await asyncio.sleep(DRAIN_POLL_S)
        await self._service.engine.stop()
        cutting = asyncio.get_running_loop().call_later(CUT_S, self._cut)
        await super().shutdown(sockets)
        cutting.cancel()

    def _cut(self) -> None:
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal and return; uvicorn would raise it once more and end the process."""
        handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


REMEDIES = {
    errno.EADDRINUSE: "it is in use; stop what listens there or choose another with --port",
    errno.EACCES: "it needs privileges; choose one above 1023 with --port",
    errno.EADDRNOTAVAIL: "this machine does not have that address; choose another with --host",
}


def _remedy(error: OSError) -> str:
    return REMEDIES.get(error.errno or 0, f"{error.strerror}; choose another --host or --port")
