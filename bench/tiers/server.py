"""`motet serve` with a tiny model, in a process of its own."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
import torch

from motet import demo
from motet.bench.random_model import SHAPES, write_model
from motet.engine.models import read_config
from motet.errors import ServerError
from motet.file_names import TOKENIZER, TOKENIZER_CONFIG
from motet.memory.geometry import Module

MOTET = Path(sys.executable).with_name("motet")
MAX_POSITIONS = 512
OPTIONS = ("--port", "0", "--dtype", "float32", "--threads", "1")

T = TypeVar("T")


def write_tiny_model(directory: Path) -> Sequence[Module]:
    """With the demo's tokenizer; returns the modules that adapters may change."""
    vocab_size = read_config(str(demo.MODEL)).num_token_ids
    shape = replace(SHAPES["tiny"], vocab_size=vocab_size)
    write_model(directory, shape, MAX_POSITIONS, torch.float32)
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        shutil.copy(demo.MODEL / name, directory)
    return read_config(str(directory)).modules


@dataclass(frozen=True, slots=True)
class Server:
    """One that is ready."""

    url: str
    pid: int
    ready_s: float
    """From its start until /ready said so."""
    http: httpx.Client

    def get(self, path: str) -> bytes:
        return _content(self.http.get(path))

    def read(self, path: str, kind: type[T]) -> T:
        return msgspec.json.decode(self.get(path), type=kind)

    def post(self, path: str, body: msgspec.Struct) -> bytes:
        return _content(self.http.post(path, content=msgspec.json.encode(body), headers=JSON))


JSON = {"Content-Type": "application/json"}


@contextmanager
def served(model: Path, *options: str) -> Iterator[Server]:
    """Raises ServerError when it does not become ready."""
    command = [str(MOTET), "serve", str(model), *OPTIONS, *options]
    start_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            urls = (line.split()[1] for line in process.stdout if line.startswith("  url"))
            url = next(urls, None)
            if url is None:
                raise ServerError(f"'{' '.join(command)}' ended before it was ready: see above")
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
                _content(http.get("/ready"))
                ready_s = time.perf_counter() - start_s
                yield Server(url, process.pid, ready_s, http)
        finally:
            process.terminate()


def _content(response: httpx.Response) -> bytes:
    if response.is_error:
        raise ServerError(f"{response.url} answered {response.status_code}: {response.text:.200}")
    return response.content
