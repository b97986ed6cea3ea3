"""Follows a page of the documentation: types its commands and compares what they print.

A fenced block of `sh` is typed into one shell, a block of `python` is run as a script; a block of
`text` or `json` that follows is what it must print. `…` there stands for anything within a line,
alone in a line for any lines. A block marked `sh server` goes on in the background; what it must
print is all it says at its start.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import pytest

FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
OUTPUTS = ("text", "json")
WAIT_S = 300


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a reader does, and what the page says comes of it."""

    kind: str
    text: str
    expected: str | None

    def check(self, printed: str) -> None:
        """Fail unless `printed` is what the page says."""
        if self.expected is None:
            return
        expected = re.escape(self.expected.strip())
        expected = expected.replace(re.escape("\n…\n"), "(?s:.*)").replace("…", ".*")
        assert re.fullmatch(expected, printed.strip()), (
            f"the page says\n\n{self.text}\nprints\n\n{self.expected}\nbut it prints\n\n{printed}"
        )


def commands(page: str) -> Iterator[Command]:
    """All commands of a page, in order."""
    blocks = [(match["kind"], match["text"]) for match in FENCE.finditer(page)]
    for number, (kind, text) in enumerate(blocks):
        following = blocks[number + 1 : number + 2]
        expected = next((said for kind, said in following if kind in OUTPUTS), None)
        if kind not in OUTPUTS:
            yield Command(kind, text, expected)


class Reader:
    """Somebody with a shell in `directory`, who does what a page says."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=directory,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # so that one signal ends the shell and all that it started
        )
        self._directory = directory
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()
        self._open.close()

    def do(self, command: Command) -> None:
        """Do one thing and compare what is printed."""
        run = {"sh": self._type, "sh server": self._start, "python": self._run_script}
        command.check(run[command.kind](command))

    def _type(self, command: Command) -> str:
        return self._say(f"{command.text}\n")

    def _run_script(self, command: Command) -> str:
        return self._say(f"python - <<'END OF SCRIPT'\n{command.text}\nEND OF SCRIPT\n")

    def _start(self, command: Command) -> str:
        """Begin; read as many lines as the page shows."""
        assert command.expected is not None, "say what the server prints at its start"
        fifo = Path(self._open.enter_context(TemporaryDirectory())) / "said"
        os.mkfifo(fifo)
        self._say(f"{command.text.rstrip()} > {fifo} 2>&1 &\n")
        said = self._open.enter_context(fifo.open())  # to the end: the server may go on speaking
        with _deadline(self._shell.pid):
            return "".join(said.readline() for _ in command.expected.strip().splitlines())

    def _say(self, script: str) -> str:
        """What the shell prints for `script`, which may not fail."""
        shell = self._shell
        assert shell.stdin and shell.stdout
        end = "END-OF-OUTPUT"
        shell.stdin.write(f"{{ {script}\n}} < /dev/null\necho {end} $?\n")
        shell.stdin.flush()
        lines: list[str] = []
        with _deadline(shell.pid):
            for line in shell.stdout:
                text, is_end, status = line.partition(end)
                lines.append(text)
                if is_end:
                    printed = "".join(lines)
                    assert status.strip() == "0", f"{script}\nfails:\n{printed}"
                    return printed
        pytest.fail(f"{script}\nended the shell:\n{''.join(lines)}")


class _deadline:
    """Ends the process group of a shell that says nothing for too long."""

    def __init__(self, group: int) -> None:
        self._timer = threading.Timer(WAIT_S, os.killpg, (group, signal.SIGKILL))

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def reader_environment(port: int) -> dict[str, str]:
    """That of this process, in which `motet` and `python` are those of these tests.

    A reader's `make` is not one of the `make` that runs these tests, which would say so.
    """
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(port),
        "MOTET_PORT": str(port),
        "MOTET_BASE_URL": f"http://127.0.0.1:{port}",
    }
