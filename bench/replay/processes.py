"""Arms side by side, each in a process of its own."""

import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from motet.bench.replay.arm import Arm
from motet.bench.replay.result import Row, replay
from motet.bench.replay.run import Setting
from motet.errors import EngineFailed

PROGRESS = 0.005
"""Told of each such share."""

Job = tuple[Setting, Arm]


@dataclass(frozen=True, slots=True)
class Failed:
    why: str


Message = float | Row | Failed


def run_jobs(
    jobs: Sequence[Job], num_at_once: int, progress: Callable[[int, float], None]
) -> list[Row]:
    """In the order of the jobs. `progress` hears of each which share is done.

    Raises EngineFailed for the first that fails. However it ends, no process is left.
    """
    rows: dict[int, Row] = {}
    waiting = iter(enumerate(jobs))
    with _children() as children:
        while len(rows) < len(jobs):
            for index, job in _take(waiting, num_at_once - len(children.running)):
                children.start(index, job)
            for index, message in children.hear():
                match message:
                    case float():
                        progress(index, message)
                    case Row():
                        rows[index] = message
                        progress(index, 1.0)
                    case Failed():
                        raise EngineFailed(f"{jobs[index][1]}: {message.why}")
    return [rows[index] for index in range(len(jobs))]


@dataclass(slots=True)
class _Children:
    running: dict[int, tuple[BaseProcess, Connection]] = field(default_factory=dict)

    def start(self, index: int, job: Job) -> None:
        here, there = multiprocessing.Pipe(duplex=False)
        process = _process(there, *job)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process.start()  # it is born deaf to SIGINT: this process ends it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()
        self.running[index] = process, here

    def hear(self) -> list[tuple[int, Message]]:
        """What the next of them say."""
        heard: list[tuple[int, Message]] = []
        by_pipe = {pipe: index for index, (_, pipe) in self.running.items()}
        for pipe in wait(list(by_pipe)):
            assert isinstance(pipe, Connection)
            index = by_pipe[pipe]
            message = self._receive(pipe, index)
            heard.append((index, message))
            if not isinstance(message, float):
                pipe.close()
                self.running.pop(index)[0].join()
        return heard

    def _receive(self, pipe: Connection, index: int) -> Message:
        try:
            message: Message = pipe.recv()
        except EOFError:
            process = self.running[index][0]
            process.join()
            return Failed(
                f"its process ended with status {process.exitcode}: memory may have been short, "
                "try fewer --jobs"
            )
        return message


@contextmanager
def _children() -> Iterator[_Children]:
    children = _Children()
    gc.freeze()  # what exists is not looked at in any child, and stays shared
    try:
        yield children
    finally:
        gc.unfreeze()
        for process, pipe in children.running.values():
            process.kill()
            process.join()
            pipe.close()


def _take(waiting: Iterator[tuple[int, Job]], num: int) -> Iterator[tuple[int, Job]]:
    for _, item in zip(range(num), waiting, strict=False):
        yield item


def _process(pipe: Connection, setting: Setting, arm: Arm) -> BaseProcess:
    """Where processes can be forked, it has the trace already. It computes on ints only: threads
    of the parent do not matter to it."""
    if sys.platform == "linux":
        fork = multiprocessing.get_context("fork")
        return fork.Process(target=_run, args=(pipe, setting, arm), daemon=True)
    spawn = multiprocessing.get_context("spawn")
    return spawn.Process(target=_run, args=(pipe, setting, arm), daemon=True)


def _run(pipe: Connection, setting: Setting, arm: Arm) -> None:
    """In the child."""
    gc.disable()  # a run leaves next to nothing in circles, and much to look through
    told = 0.0

    def progress(share: float) -> None:
        nonlocal told
        if share >= told + PROGRESS:
            told = share
            pipe.send(share)

    with suppress(BrokenPipeError):  # nobody waits for it any more
        message: Message
        try:
            message = replay(setting, arm, progress)
        except BrokenPipeError:
            raise
        except Exception as error:  # whatever it is, it is this arm's
            message = Failed(_why(error))
        pipe.send(message)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, EngineFailed) else f"{type(error).__name__}: {error}"
