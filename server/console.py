"""What the operator sees of a start: bars while loading, then what is served and how to try it."""

import json
import shlex

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TimeRemainingColumn

from motet.engine import EngineInfo
from motet.errors import Unavailable
from motet.server.service import Served

MIB = 1024**2


class StartConsole:
    """Bars go to stderr, and only to a terminal; the banner goes to stdout."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            "{task.description:>8}",
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._stages: dict[str, TaskID] = {}
        self._is_closed = False

    def progress(self, stage: str, done: int, total: int) -> None:
        """Called where the engine is built. Raises Unavailable when there is no need to go on."""
        if self._is_closed:
            raise Unavailable("the server stopped while it was loading")
        if stage not in self._stages:
            self._bars.start()
            self._stages[stage] = self._bars.add_task(stage)
        self._bars.update(self._stages[stage], completed=done, total=total)

    def announce(self, served: Served, url: str) -> None:
        self.close()
        print(banner(served, url), flush=True)

    def close(self) -> None:
        """Take the bars away; loading that still goes on ends at its next report of progress."""
        self._is_closed = True
        self._bars.stop()


def banner(served: Served, url: str) -> str:
    """What is served, how the pool is cut, and a line to try it with."""
    info = served.info
    lines = {
        "model": f"{served.name} ({info.architecture}, {info.dtype} on {info.device})",
        "context": f"{info.max_model_len:,} tokens",
        "pool": _pool(info),
        "adapters": f"{len(info.adapters):,} loaded, of rank up to {info.max_lora_rank}",
        "defaults": str(served.defaults) or "OpenAI's",
        "url": url,
        "try": _curl(served, url),
    }
    return "\n".join(["motet is ready", *(f"  {key:<9} {text}" for key, text in lines.items())])


def _pool(info: EngineInfo) -> str:
    total_mib = info.num_pages * info.page_bytes / MIB
    num_tokens = info.num_pages * info.page_tokens
    num_adapters = info.num_pages // info.rank16_adapter_pages
    return (
        f"{info.num_pages:,} pages of {info.page_bytes:,} bytes ({total_mib:,.1f} MiB): room for "
        f"{num_tokens:,} tokens, or {num_adapters:,} adapters of rank 16, or any mix"
    )


def _curl(served: Served, url: str) -> str:
    model = served.info.adapters[0].name if served.info.adapters else served.name
    prompt = "Hello" if served.tokenizer.has_text else [1, 2, 3]
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": 16})
    header = "Content-Type: application/json"
    return f"curl {url}/v1/completions -H {shlex.quote(header)} -d {shlex.quote(body)}"
