"""Fifty streams that run all the while, and notice whether what others do disturbs them."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

NUM_STREAMS = 50
MAX_TOKENS = 200
"""Of one answer: each stream is one after the other, alike each time."""

HANG_S = 60.0
"""Nobody waits as long for a token, unless none comes."""


@dataclass(slots=True)
class Stream:
    """One request, asked for again and again."""

    wish: dict[str, Any]
    num_tokens: int = 0
    """That have come, in all answers."""
    expected: list[int] | None = None
    """The tokens of the first answer."""
    faults: list[str] = field(default_factory=list)

    def run(self, url: str, is_over: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=HANG_S) as http:
            while not is_over.is_set() and not self.faults:
                try:
                    self._check(self._answer(http))
                except Exception as error:  # in a thread: whoever asks later must hear of it
                    self.faults.append(repr(error))

    def _answer(self, http: httpx.Client) -> list[int]:
        """Its tokens, when it has ended as it should."""
        tokens: list[int] = []
        reason = None
        with http.stream("POST", "/v1/completions", json=self.wish) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    assert "error" not in event, event
                    for choice in event["choices"]:
                        tokens += choice["token_ids"]
                        self.num_tokens += len(choice["token_ids"])
                        reason = choice["finish_reason"]
        assert (reason, len(tokens)) == ("length", MAX_TOKENS), (reason, len(tokens))
        return tokens

    def _check(self, tokens: list[int]) -> None:
        if self.expected is None:
            self.expected = tokens
        assert tokens == self.expected, "the same request has another answer"


class Crowd:
    """Streams with different prompts on these models, in turn."""

    def __init__(self, models: Sequence[str]) -> None:
        self.streams = [
            Stream(
                {
                    "model": models[number % len(models)],
                    "prompt": [3 + number, *range(9, 20 + number)],
                    "max_tokens": MAX_TOKENS,
                    "temperature": 0,
                    "ignore_eos": True,
                    "stream": True,
                    "return_token_ids": True,
                }
            )
            for number in range(NUM_STREAMS)
        ]

    def must_be_undisturbed(self) -> None:
        """Each has all it had, and gets more."""
        before = [stream.num_tokens for stream in self.streams]
        self._wait(lambda number, stream: stream.num_tokens > before[number])

    def must_have_begun(self) -> None:
        """Each has had one answer, which all later ones have to equal."""
        self._wait(lambda _, stream: stream.expected is not None)

    def must_have_no_faults(self) -> None:
        """In any answer that has ended."""
        faults = [fault for stream in self.streams for fault in stream.faults]
        assert not faults, faults

    def _wait(self, is_enough: Callable[[int, Stream], bool]) -> None:
        deadline_s = time.monotonic() + HANG_S
        waiting = list(enumerate(self.streams))
        while waiting:
            self.must_have_no_faults()
            waiting = [pair for pair in waiting if not is_enough(*pair)]
            assert time.monotonic() < deadline_s, f"{len(waiting)} streams stand still"
            time.sleep(0.01)


@contextmanager
def crowd_on(url: str, models: Sequence[str]) -> Iterator[Crowd]:
    """Streams on these models until the context ends, undisturbed to the last answer."""
    crowd = Crowd(models)
    is_over = threading.Event()
    threads = [threading.Thread(target=stream.run, args=(url, is_over)) for stream in crowd.streams]
    for thread in threads:
        thread.start()
    try:
        crowd.must_have_begun()
        yield crowd
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    crowd.must_have_no_faults()
