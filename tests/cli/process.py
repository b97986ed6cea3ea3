"""The real `motet serve`, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

MOTET = Path(sys.executable).with_name("motet")
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
MAX_BANNER_BYTES = 65536


class Server:
    """`motet serve` until a signal stops it."""

    def __init__(
        self,
        *arguments: object,
        motet: Path = MOTET,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """The command, and where it runs, are those of the tests if they are not given."""
        self._reservation = reserve_port()
        self.port: int = self._reservation.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [str(motet), "serve", *map(str, arguments), "--port", str(self.port)],
            env=environment,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, path: str) -> None:
        """Until GET `path` is answered with 200."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        with httpx.Client() as http:  # making one costs as much as a hundred questions
            while time.monotonic() < deadline_s and self._process.poll() is None:
                try:
                    if http.get(self.url + path).is_success:
                        return
                except httpx.TransportError:  # not listening yet
                    pass
                time.sleep(0.1)
        self._process.kill()
        pytest.fail(f"no answer to GET {path}: {self._process.communicate()}")

    def read_banner(self) -> str:
        """What a ready server has said: it comes in one piece."""
        assert self._process.stdout
        return os.read(self._process.stdout.fileno(), MAX_BANNER_BYTES).decode()

    def signal(self, signal_number: int) -> None:
        self._process.send_signal(signal_number)

    def stop(self, signal_number: int) -> tuple[int, str]:
        """Exit code and stderr."""
        self.signal(signal_number)
        try:
            _, err = self._process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            pytest.fail(f"it goes on after signal {signal_number}: {self._process.communicate()}")
        self._reservation.close()
        return self._process.returncode, err


def reserve_port() -> socket.socket:
    """A free port, which nobody is given until this is closed, but may be listened to.

    Other connections take ports while a server starts, and tests may run side by side.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as those who listen do
    reservation.bind(("127.0.0.1", 0))
    return reservation
