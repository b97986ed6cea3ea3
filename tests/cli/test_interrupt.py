"""SIGINT ends what is awaited, also when it does not wake who waits."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from motet.commands.interrupt import run_until_interrupted


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def interrupted_elsewhere(wait_s: float) -> str:
    """Meanwhile another thread gets the signal: no call of this thread is interrupted.

    So it is with a signal that comes just before this thread waits.
    """

    def interrupt() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        await asyncio.sleep(wait_s)
    finally:
        thread.join()
    return "done"


def test_it_wakes_a_loop_that_waits() -> None:
    with asyncio.Runner() as runner, pytest.raises(KeyboardInterrupt):
        run_until_interrupted(runner, interrupted_elsewhere(wait_s=60))


def test_the_loop_goes_on_afterwards() -> None:
    with asyncio.Runner() as runner:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                run_until_interrupted(runner, interrupted_elsewhere(wait_s=60))
        assert run_until_interrupted(runner, asyncio.sleep(0, "done")) == "done"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_it_is_ignored_it_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner() as runner:
        assert run_until_interrupted(runner, interrupted_elsewhere(wait_s=0.2)) == "done"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_work_that_loses_the_cancellation_is_cancelled_again() -> None:
    async def losing() -> None:
        with suppress(asyncio.CancelledError):
            await interrupted_elsewhere(wait_s=60)
        await asyncio.sleep(60)

    with asyncio.Runner() as runner, pytest.raises(KeyboardInterrupt):
        run_until_interrupted(runner, losing())
