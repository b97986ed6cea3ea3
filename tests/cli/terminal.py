"""A command with a person in front."""

import os
import pty
import select
import subprocess
import time

import pytest

from tests.cli.process import MOTET

PATIENCE_S = 60.0
TAKE_TERMINAL = ': <>"$0"; '
"""A leader of a session gets the terminal it opens, so that Ctrl-C reaches it."""
IGNORE_CTRL_C = "trap '' INT; "
"""As what a script starts in the background does."""


class Terminal:
    """`motet` with these arguments, in a terminal of its own."""

    def __init__(
        self, *arguments: str, is_ctrl_c_ignored: bool = False, kind: str = "dumb"
    ) -> None:
        self._ours, theirs = pty.openpty()
        script = TAKE_TERMINAL + IGNORE_CTRL_C * is_ctrl_c_ignored + 'exec "$@"'
        self._process = subprocess.Popen(
            ["sh", "-c", script, os.ttyname(theirs), str(MOTET), *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": kind},
        )
        os.close(theirs)
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def read_until(self, expected: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while expected not in self._shown:
            left_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self._ours], [], [], left_s)[0]:
                pytest.fail(f"no {expected!r} in {self._shown!r}")
            try:
                self._shown += os.read(self._ours, 1000).decode()
            except OSError:  # nobody writes any more
                pytest.fail(f"ended with {self._shown!r} before {expected!r}")
        _, _, self._shown = self._shown.partition(expected)

    def wait(self) -> int:
        return self._process.wait(timeout=PATIENCE_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
