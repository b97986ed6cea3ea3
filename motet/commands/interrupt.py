"""Ctrl-C while something is awaited."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_S = 0.5
"""Until what has been cancelled and goes on is cancelled again: a library may lose it, if it comes
while a connection is given back."""


def run_until_interrupted(runner: asyncio.Runner, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; raises KeyboardInterrupt once SIGINT has ended it.

    The handler of Runner itself does not wake the loop: if the signal comes just before the loop
    waits, nothing happens until something else does. And a second signal would leave a task behind.
    """
    try:
        return runner.run(_cancelled_by_sigint(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        work.close()  # if the signal came before its first step


async def _cancelled_by_sigint(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a job in the background of a script
        return await work
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        if not task.done():
            task.cancel()
            loop.call_later(AGAIN_S, cancel)

    loop.add_signal_handler(signal.SIGINT, cancel)
    try:
        return await work
    finally:
        loop.remove_signal_handler(signal.SIGINT)
