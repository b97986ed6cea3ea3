"""What the server itself costs: the real server around an executor that does nothing but wait.

Run as `python -m motet.bench.overhead`. The goals are 3,000 streamed tokens/s through one process,
and at most a tenth of a step of 20 ms outside of the executor at 32 rows.
"""

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean

from tokenizers import Tokenizer

from motet import demo
from motet.engine import Engine, EngineInfo
from motet.engine.config import BatchConfig
from motet.engine.core import EngineCore
from motet.engine.inbox import Inbox
from motet.engine.plan import Batch, SampledToken, StepResult
from motet.engine.recording import SchedulerSpec
from motet.file_names import TOKENIZER
from motet.loading_bars import LoadingBars
from motet.memory.copy import Transfers
from motet.server import launch
from motet.server.http.config import ServerConfig

NUM_ROWS = 32
NUM_TOKENS = 512
STEPS_MS = (0.0, 20.0)
PROMPT_CHARS = 32
NUM_PAGES, PAGE_TOKENS, MAX_MODEL_LEN = 4096, 16, 2048
LETTER = "e"
"""What every token says: it has text, so that every token is streamed."""


@dataclass(slots=True)
class WaitingExecutor:
    """Each step takes `step_s` and gives every row the same token."""

    step_s: float
    token_id: int
    outside_s: list[float] = field(default_factory=list)
    """From the start of a step with all rows to the start of the next, less `step_s`."""
    _started_s: float | None = None

    def begin(self, transfers: Transfers) -> None:
        pass  # it serves no adapters

    def execute(self, batch: Batch) -> StepResult:
        now = time.perf_counter()
        if self._started_s is not None:
            self.outside_s.append(now - self._started_s - self.step_s)
        sampling = [row for row in batch.rows if row.sampling]
        self._started_s = now if len(sampling) == NUM_ROWS else None
        tokens = tuple(SampledToken(row.request_id, self.token_id) for row in sampling)
        time.sleep(self.step_s)
        return StepResult(batch.step, tokens)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m motet.bench.overhead")
    parser.add_argument("--serve", type=float, metavar="STEP_MS", help="used by itself")
    step_ms = parser.parse_args().serve
    if step_ms is not None:
        _serve(step_ms / 1000)
    else:
        for step_ms in STEPS_MS:
            _measure(step_ms)


def _measure(step_ms: float) -> None:
    with _served(step_ms) as (url, process):
        asyncio.run(_load(url))  # a first round, untimed
        start_s = time.perf_counter()
        answers = asyncio.run(_load(url))
        duration_s = time.perf_counter() - start_s
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        outside_ms = 1000 * json.loads(process.stdout.readlines()[-1])
    num_tokens, num_events = NUM_ROWS * NUM_TOKENS, sum(map(_num_events, answers))
    print(
        f"step of {step_ms:g} ms, {NUM_ROWS} streams of {NUM_TOKENS} tokens: "
        f"{num_tokens / duration_s:,.0f} tokens/s in {num_events / duration_s:,.0f} events/s; "
        f"{outside_ms:.2f} ms between steps"
        + (f", {outside_ms / step_ms:.1%} of a step" if step_ms else "")
    )


@contextmanager
def _served(step_ms: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--serve", str(step_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            urls = (line.split()[1] for line in process.stdout if line.startswith("  url"))
            yield next(urls), process
        finally:
            process.terminate()


def _serve(step_s: float) -> None:
    """Serve until a signal comes; then print the mean of the seconds between steps."""
    import uvloop

    executor = WaitingExecutor(step_s, _tokenizer().get_vocab()[LETTER])
    config = ServerConfig(port=0)
    listener = launch.listen(config)
    engine = Engine(lambda: _core(executor))
    uvloop.run(launch.serve(engine, config, listener, LoadingBars()))
    print(mean(executor.outside_s))


def _core(executor: WaitingExecutor) -> EngineCore:
    batch = BatchConfig(max_batch_rows=NUM_ROWS)
    spec = SchedulerSpec(batch, MAX_MODEL_LEN, NUM_PAGES, PAGE_TOKENS, "base", ())
    info = EngineInfo(
        model=str(demo.MODEL),
        architecture="none",
        dtype="float32",
        device="cpu",
        vocab_size=_tokenizer().get_vocab_size(),
        max_model_len=MAX_MODEL_LEN,
        eos_token_ids=(),
        max_lora_rank=batch.max_lora_rank,
        max_batch_rows=batch.max_batch_rows,
        max_batch_adapters=batch.max_batch_adapters,
        num_pages=NUM_PAGES,
        page_bytes=1,
        page_tokens=PAGE_TOKENS,
        rank16_adapter_pages=1,
        adapters=(),
    )
    return EngineCore(info, spec.make(), executor, Inbox())


def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(demo.MODEL / TOKENIZER))


async def _load(url: str) -> list[bytes]:
    """The answers of NUM_ROWS streams, all at once."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return await asyncio.gather(*(_stream(host, int(port)) for _ in range(NUM_ROWS)))


async def _stream(host: str, port: int) -> bytes:
    """Sockets, not an HTTP library: its time would be measured as the server's."""
    wish = {"prompt": LETTER * PROMPT_CHARS, "max_tokens": NUM_TOKENS, "stream": True}
    body = json.dumps(wish).encode()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    answer = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return answer


def _num_events(answer: bytes) -> int:
    """Events with text. All of the text must have come."""
    texts = re.findall(rb'"text":"(e+)"', answer)
    assert sum(map(len, texts)) == NUM_TOKENS and b"data: [DONE]" in answer, answer[-1000:]
    return len(texts)


if __name__ == "__main__":
    main()
