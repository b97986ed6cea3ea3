"""`make bench`: makes the sample model, serves it with its adapters, and measures it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from motet.bench.sample import RANKS, write_sample

MOTET = Path(sys.executable).with_name("motet")
LOAD = ("--num-prompts", "64", "--concurrency", "16", "--input-len", "64", "--output-len", "32")
NAMES = [f"a{rank}" for rank in RANKS]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        write_sample(Path(directory))
        with served(Path(directory)) as url:
            models = [argument for name in NAMES for argument in ("--model", name)]
            subprocess.run([MOTET, "bench", "serve", "--base-url", url, *models, *LOAD], check=True)


@contextmanager
def served(sample: Path) -> Iterator[str]:
    """The address of `motet serve` on the sample, as its banner says when it is ready."""
    adapters = [argument for name in NAMES for argument in ("--adapter", f"{name}={sample / name}")]
    options = ["--port", "0", "--pool-bytes", "64MiB", *adapters]
    command = [str(MOTET), "serve", str(sample / "model"), *options]
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
