"""`motet top`: what a running server does, drawn again and again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from motet.client.client import Client
from motet.client.operator import Operator
from motet.client.protocol import AdapterState, Memory, MovedPages, Pages
from motet.commands.connect import answered
from motet.commands.interrupt import run_until_interrupted
from motet.commands.running_adapters import UNKNOWN
from motet.commands.settings import ConnectionConfig, TopConfig

MIB = 1024**2
OWNERS = (
    ("kv", "K", "blue"),
    ("adapter", "A", "green"),
    ("transfer", "T", "yellow"),
    ("quarantined", "Q", "red"),
    ("free", ".", "bright_black"),
)
"""Field of Pages, the letter that is drawn for its pages, and their colour."""
MAX_BAR = 64
NOTHING_MOVED = MovedPages(disk_to_host=0, host_to_device=0, device_to_host=0)
_FIELDS = ("adapter", "tier", "rank", "pages", "running", "waiting", "hits", "loads", "evictions")


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    at_s: float
    memory: Memory
    adapters: Sequence[AdapterState]
    """Those in use, the busiest first; then others, the most used first."""


def run_top(connection: ConnectionConfig, config: TopConfig) -> None:
    """Draw until Ctrl-C, or once. Raises ConfigError when the server cannot be asked."""
    console = Console()
    with asyncio.Runner() as runner:
        client = Client(connection.base_url, api_key=connection.api_key)
        try:
            run_until_interrupted(runner, _draw(console, connection.base_url, client, config))
        except KeyboardInterrupt:
            return  # how it is meant to end
        finally:
            runner.run(client.close())


async def _draw(console: Console, url: str, client: Client, config: TopConfig) -> None:
    looks = _looks(Operator(client), config)
    first = await anext(looks)
    if config.once:
        console.print(frame(url, first, None, console.width))
        return
    is_shown = console.is_terminal
    screen = Live(console=console, screen=True, auto_refresh=False) if is_shown else nullcontext()
    with screen as live:
        before = None
        look = first
        while True:
            drawn = frame(url, look, before, console.width)
            if live is None:
                console.print(drawn)
            else:
                live.update(drawn, refresh=True)
            before, look = look, await anext(looks)


async def _looks(operator: Operator, config: TopConfig) -> AsyncIterator[Look]:
    while True:
        memory = await answered(operator.memory())
        busy = await answered(operator.busiest(config.rows))
        others = await answered(operator.first(config.rows)) if len(busy) < config.rows else []
        yield Look(time.monotonic(), memory, _by_use(busy, others, config.rows))
        await asyncio.sleep(config.interval_seconds)


def frame(url: str, look: Look, before: Look | None, width: int) -> RenderableType:
    """One picture, with rates since the look `before`."""
    memory = look.memory
    return Group(
        Text(f"motet top   {url}", style="bold"),
        Text(_requests(memory)),
        Text(_adapters(memory)),
        Text(_link(look, before)),
        Text(),
        _bar("device", memory.pages, memory.page_bytes, width),
        _bar("host", memory.host, memory.page_bytes, width),
        Text(),
        _table(look.adapters),
    )


def _requests(memory: Memory) -> str:
    counts = memory.requests
    state = f"{counts.waiting_for_state:,} of them for state"
    return f"requests    {counts.running:,} running, {counts.waiting:,} waiting, {state}"


def _adapters(memory: Memory) -> str:
    counts = memory.adapters
    done = f"{counts.loads:,} loads and {counts.reads:,} reads so far"
    return f"adapters    {counts.current:,} named, {counts.leaving:,} leaving; {done}"


def _link(look: Look, before: Look | None) -> str:
    """What moves in a second, on average since the look before; without one, what has moved."""
    now, then = look.memory.moved, before.memory.moved if before else NOTHING_MOVED
    past_s = max(look.at_s - before.at_s, 1e-9) if before else 1.0
    unit = "MiB/s" if before else "MiB so far,"

    def mib(pages: int, pages_before: int) -> str:
        return f"{(pages - pages_before) * look.memory.page_bytes / MIB / past_s:,.1f}"

    gbps = look.memory.simulated_link_gbps
    simulated = f"; simulated link of {gbps:g} Gbit/s each way" if gbps else ""
    return (
        f"link        {unit} {mib(now.host_to_device, then.host_to_device)} to the device, "
        f"{mib(now.device_to_host, then.device_to_host)} to the host, "
        f"{mib(now.disk_to_host, then.disk_to_host)} from disk{simulated}"
    )


def _bar(tier: str, pages: Pages, page_bytes: int, width: int) -> RenderableType:
    """The pages of a tier as a row of letters, with what each stands for below."""
    if not pages.total:
        return Text(f"{tier:<12}no pages")
    length = max(8, min(MAX_BAR, width - 40))
    bar, legend = Text(f"{tier:<12}"), Text(" " * 12)
    done = drawn = 0
    for owner, letter, colour in OWNERS:
        count = getattr(pages, owner)
        done += count
        until = round(done * length / pages.total)
        bar.append(letter * (until - drawn), style=colour)
        drawn = until
        legend.append(f"{letter} ", style=colour).append(f"{owner} {count:,}  ")
    bar.append(f"  {pages.total:,} pages, {pages.total * page_bytes / MIB:,.0f} MiB")
    return Group(bar, legend)


def _table(adapters: Sequence[AdapterState]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for name in _FIELDS:
        table.add_column(name, justify="left" if name in ("adapter", "tier") else "right")
    table.add_column("")
    for state in adapters:
        leaving = f"@{state.generation} leaving" if state.standing == "leaving" else ""
        known = (UNKNOWN if x is None else f"{x:,}" for x in (state.rank, state.pages))
        counts = (state.running, state.waiting, state.hits, state.loads, state.evictions)
        note = "pinned" if state.pinned else ""
        cells = (state.name + leaving, state.tier, *known, *map(str, counts))
        table.add_row(*map(Text, cells), Text(state.last_error or note))  # names are no markup
    return table


def _by_use(
    busy: Sequence[AdapterState], others: Sequence[AdapterState], limit: int
) -> list[AdapterState]:
    shown = {(state.name, state.generation) for state in busy}
    rest = [state for state in others if (state.name, state.generation) not in shown]
    busy = sorted(busy, key=lambda state: -(state.running + state.waiting))
    return [*busy, *sorted(rest, key=lambda state: -state.hits)][:limit]
