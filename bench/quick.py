"""`make bench`: serves the model that comes with motet in all its voices, and measures it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from motet import demo

MOTET = Path(sys.executable).with_name("motet")
LOAD = ("--num-prompts", "64", "--concurrency", "16", "--input-len", "64", "--output-len", "32")


def main() -> None:
    with served() as url:
        models = [argument for name in demo.VOICE_NAMES for argument in ("--model", name)]
        subprocess.run([MOTET, "bench", "serve", "--base-url", url, *models, *LOAD], check=True)


@contextmanager
def served() -> Iterator[str]:
    """The address of `motet serve`, as its banner says when it is ready."""
    command = [str(MOTET), "serve", "--port", "0", "--pool-bytes", "64MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            for line in server.stdout:
                print(line, end="")
                match line.split():
                    case ["url", url]:
                        yield url
                        break
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
