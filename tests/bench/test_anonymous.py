"""What processes cost in memory, read from real ones."""

import subprocess
import sys

from motet.bench.anonymous import wait_watching

MIB = 1024**2
TAKE = "import time; taken = b'x' * {size}; time.sleep(0.5)"


def a_process(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code])


def test_the_peak_is_that_of_a_process_and_its_child_together() -> None:
    child = TAKE.format(size=64 * MIB)
    parent = (
        f"import subprocess, sys; taken = b'x' * {32 * MIB}\n"
        f'subprocess.run([sys.executable, "-c", "{child}"])'
    )
    assert 96 * MIB < wait_watching(a_process(parent)) < 160 * MIB


def test_memory_that_a_file_backs_does_not_count() -> None:
    mapped = (
        "import mmap, tempfile, time; file = tempfile.TemporaryFile()\n"
        f"file.truncate({64 * MIB})\n"
        "view = mmap.mmap(file.fileno(), 0); sum(view[::4096]); time.sleep(0.5)"
    )
    assert wait_watching(a_process(mapped)) < 32 * MIB
