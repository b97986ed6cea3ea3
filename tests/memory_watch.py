"""Whether the pages of a running server add up, at every moment that somebody looks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

EVERY_S = 0.02


@contextmanager
def watched_memory(url: str) -> Iterator[list[tuple[int, int]]]:
    """Ask all the while whose the pages are: sum of the parts and total, of each tier."""
    sums: list[tuple[int, int]] = []
    is_over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url) as http:
            while not is_over.wait(EVERY_S):
                memory = http.get("/v1/memory").json()
                for tier in ("pages", "host"):
                    total = memory[tier].pop("total")
                    sums.append((sum(memory[tier].values()), total))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield sums
    finally:
        is_over.set()
        thread.join()
