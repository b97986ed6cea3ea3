"""Threads for what may take long."""

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

END_S = 1.0
"""Most that an ending object or process waits for the job of a thread."""

Job = Callable[[], object]
"""Raises nothing."""


class Workers:
    """Some threads that take jobs in the order given.

    They are there from the first job until this object goes, and keep no process alive: a read
    from a dead disk may never end.
    """

    def __init__(self, name: str, num_threads: int = 1) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self.threads = [
            threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
            for _ in range(num_threads)
        ]

    def add(self, job: Job) -> None:
        """Called by one thread, and by jobs."""
        if self.threads[0].ident is None:
            for thread in self.threads:
                thread.start()
            weakref.finalize(self, _end, self._jobs, self.threads)
        self._jobs.put(job)


def _work(jobs: "SimpleQueue[Job]") -> None:
    while (job := jobs.get()) is not _stop:
        job()
        del job  # with all that it refers to


def _stop() -> None:
    """In place of a job: there are no more."""


def _end(jobs: "SimpleQueue[Job]", threads: list[threading.Thread]) -> None:
    """What has not begun never begins."""
    with suppress(Empty):
        while True:
            jobs.get_nowait()
    for _ in threads:
        jobs.put(_stop)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(END_S)
