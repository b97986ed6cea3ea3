"""Threads that end with their object, whatever they are doing."""

import subprocess
import sys
import threading
from functools import partial
from queue import SimpleQueue

from motet.memory.device import workers
from motet.memory.device.workers import Workers


def test_one_thread_takes_jobs_in_the_order_given() -> None:
    done: SimpleQueue[int] = SimpleQueue()
    some = Workers("test")
    for number in range(20):
        some.add(partial(done.put, number))
    assert [done.get(timeout=10) for _ in range(20)] == list(range(20))


def test_a_second_thread_goes_on_while_the_first_hangs() -> None:
    may_end, done = threading.Event(), threading.Event()
    some = Workers("test", 2)
    some.add(partial(may_end.wait, 10))
    some.add(done.set)
    assert done.wait(10)
    may_end.set()


def test_there_is_no_thread_before_the_first_job() -> None:
    assert not any(thread.is_alive() for thread in Workers("test", 2).threads)


def test_threads_end_with_their_object_and_what_has_not_begun_never_begins() -> None:
    some, began, may_end = Workers("test"), threading.Event(), threading.Event()
    left: list[int] = []

    def hang() -> None:
        began.set()
        may_end.wait(10)

    some.add(hang)
    some.add(partial(left.append, 1))
    assert began.wait(10)
    [thread] = some.threads
    threading.Timer(0.05, may_end.set).start()
    del some
    thread.join(10)
    assert not thread.is_alive() and left == []


def test_a_job_that_never_ends_keeps_no_process_alive() -> None:
    script = (
        "import threading\n"
        "from motet.memory.device import workers\n"
        "workers.END_S = 0.1\n"
        "some = workers.Workers('test', 2)\n"
        "some.add(threading.Event().wait)\n"
    )
    assert workers.END_S <= 1
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
