"""Turns an engine as its server would, and takes the time of each turn."""

import time
from collections.abc import Sequence
from itertools import count

import numpy as np

from motet.engine.core import EngineCore
from motet.engine.messages import Aborted, Arrived, Message, Report
from motet.engine.request import Request, SamplingParams

MAX_TOKENS = 256
"""Of a row: far more than are timed."""


class Driver:
    """Batches on one engine, one at a time. No two prompts are alike: no prefix is ever found."""

    def __init__(self, core: EngineCore) -> None:
        self.core = core
        self._adapters = {adapter.name: adapter for adapter in core.info.adapters}
        self._rng = np.random.default_rng(0)
        self._ids = count()
        self._running: list[str] = []

    @property
    def prefix_hits(self) -> int:
        return self.core.scheduler.stats().prefix_hit_tokens

    def start(self, adapters: Sequence[str | None], prompt_tokens: int) -> float:
        """A row for each adapter (None: base). Seconds until every row has its first token.

        The adapters are on the device before.
        """
        self._load({name for name in adapters if name})
        return self._start(adapters, prompt_tokens)

    def step(self) -> float:
        """Seconds of a turn in which every row decodes a token."""
        start_s = time.perf_counter()
        report = self._turn([])
        taken_s = time.perf_counter() - start_s
        assert len(report.outputs) == len(self._running), "some row has not decoded"
        return taken_s

    def stop(self) -> None:
        self._turn([Aborted(request_id) for request_id in self._running])
        self._running = []

    def _load(self, names: set[str]) -> None:
        if names:
            self._start(sorted(names), 1)
            self.stop()

    def _start(self, adapters: Sequence[str | None], prompt_tokens: int) -> float:
        assert not self._running
        requests = [self._request(name, prompt_tokens) for name in adapters]
        self._running = [request.request_id for request in requests]
        waiting = set(self._running)
        start_s = time.perf_counter()
        messages: list[Message] = [Arrived(request, start_s) for request in requests]
        while waiting:
            for output in self._turn(messages).outputs:
                assert output.error is None, output.error
                waiting.discard(output.request_id)
            messages = []
        return time.perf_counter() - start_s

    def _request(self, adapter: str | None, num_tokens: int) -> Request:
        prompt = self._rng.integers(self.core.info.vocab_size, size=num_tokens).tolist()
        return Request(
            request_id=str(next(self._ids)),
            prompt=tuple(prompt),
            sampling=SamplingParams(max_tokens=MAX_TOKENS, temperature=0),
            adapter=self._adapters[adapter] if adapter else None,
        )

    def _turn(self, messages: Sequence[Message]) -> Report:
        for message in messages:
            self.core.inbox.put(message)
        now = time.perf_counter()
        return self.core.turn(self.core.take(now), now)
