"""Memory of the host: nothing before it is used."""

import subprocess
import sys

import torch

from motet.memory.device.host_arena import HostArena
from motet.memory.layout import PageLayout

LAYOUT = PageLayout(num_layers=2, page_tokens=4, num_kv_heads=2, head_dim=8, element_bytes=2)


def test_pages_have_the_size_of_the_devices() -> None:
    host = HostArena(LAYOUT, 3, torch.bfloat16, is_pinned=False)
    assert host.pages.shape == (3, LAYOUT.elements)
    assert host.pages.dtype is torch.bfloat16
    host.pages[2] = 7
    assert not host.pages[:2].any() and (host.pages[2] == 7).all()


def test_pages_that_nobody_has_touched_take_no_memory_even_where_freed_memory_is_kept() -> None:
    """In a process of its own, which then keeps what is freed for ever."""
    script = (
        "import ctypes, torch\n"
        "from motet.engine.start.heap import keep_freed_memory\n"
        "from motet.memory.device.host_arena import HostArena\n"
        "from motet.memory.layout import PageLayout\n"
        "def anonymous():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(l.split()[1]) for l in lines if l.startswith('RssAnon')) * 1024\n"
        "layout = PageLayout(2, 16, 2, 64, 2)\n"
        "keep_freed_memory()\n"
        "torch.ones(2**26)\n"
        "before = anonymous()\n"
        "host = HostArena(layout, 2**30 // layout.page_bytes, torch.bfloat16, is_pinned=False)\n"
        "assert anonymous() - before < 2**22, anonymous() - before\n"
        "host.pages[:1000] = 1\n"
        "assert anonymous() - before > 1000 * layout.page_bytes / 2\n"
        "del host\n"
        "assert anonymous() - before < 2**22, anonymous() - before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
