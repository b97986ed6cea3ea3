"""Runs the HTTP server of one engine in this process, from a bound port to a clean stop."""

import asyncio
import errno
import reprlib
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from motet.engine import Engine
from motet.errors import ConfigError
from motet.server.app import create_app
from motet.server.connection import Connection
from motet.server.console import StartConsole
from motet.server.service import Service
from motet.server.settings import ServerConfig

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 5
"""Answers may go on this long after a signal; then the engine ends them."""

CUT_S = 3
"""This long after that, clients that do not read are cut off."""

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
    engine: Engine, config: ServerConfig, listener: socket.socket, console: StartConsole
) -> None:
    """Answer from the start, load meanwhile, stop at a signal. Raises what loading raised."""
    app = create_app(engine, config)
    service: Service = app.state.service
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",  # below, so that the end of loading is seen here
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_S + CUT_S,
        ),
        engine,
    )
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.create_task(service.ready())
        try:
            await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                console.announce(loading.result(), url_of(listener))
                await serving
        finally:
            console.close()
            server.should_exit = True
            await asyncio.gather(loading, return_exceptions=True)  # its end was seen, or is ours
            await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for running answers, but not for long."""
        ending = asyncio.create_task(self._end_answers())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_answers(self) -> None:
        await asyncio.sleep(GRACE_S)
        await self._engine.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal and return; uvicorn would raise it once more and end the process."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


REMEDIES = {
    errno.EADDRINUSE: "it is in use; stop what listens there or choose another with --port",
    errno.EACCES: "it needs privileges; choose one above 1023 with --port",
    errno.EADDRNOTAVAIL: "this machine does not have that address; choose another with --host",
}


def _remedy(error: OSError) -> str:
    return REMEDIES.get(error.errno or 0, f"{error.strerror}; choose another --host or --port")
