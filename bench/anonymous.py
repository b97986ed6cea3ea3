"""Memory that no file backs: what processes cost a machine, whatever they have mapped."""

import re
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")
POLL_S = 0.1


def anonymous_bytes(pid: int) -> int:
    """Of a process and of all that it started and that still run."""
    try:
        status = (PROC / f"{pid}/status").read_text()
        children = [path.read_text() for path in (PROC / f"{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    own = int(found[1]) * 1024 if found else 0  # one that is ending has none
    return own + sum(anonymous_bytes(int(child)) for text in children for child in text.split())


def wait_watching(process: subprocess.Popen[bytes]) -> int:
    """Wait for its end; the most anonymous memory that it and its children had together."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(POLL_S)
    return peak
