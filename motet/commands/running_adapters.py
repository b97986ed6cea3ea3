"""Lists, loads, unloads and pins adapters of a running server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from motet.client.client import Client
from motet.client.operator import Operator
from motet.client.protocol import AdapterState, LoadAdapterRequest
from motet.commands.connect import answered
from motet.commands.settings import ConnectionConfig
from motet.commands.table import print_table
from motet.errors import ConfigError

DIGEST_DIGITS = 12
"""Enough to tell adapters apart by eye."""
UNKNOWN = "-"
"""Stands for what the server has not read yet."""
HEADER = ("name", "generation", "standing", "tier", "state", "rank", "pages", "digest", "path")

T = TypeVar("T")


def list_adapters(connection: ConnectionConfig) -> None:
    """Print what the server has. Raises ConfigError when it cannot be asked, as all here do."""
    found = _ask(connection, lambda operator: operator.adapters())
    print_table(HEADER, [_row(state) for state in found])


def load_adapter(
    connection: ConnectionConfig, name: str, path: str, *, in_place: bool, is_pinned: bool
) -> None:
    """Have the server read an adapter, of its own machine, until it is there."""
    if not (name and path):
        raise ConfigError(f"NAME is '{name}' and PATH is '{path}': give both")
    here = Path(path)
    wish = LoadAdapterRequest(
        lora_name=name,
        lora_path=str(here.absolute()) if here.exists() else path,
        load_inplace=in_place,
        pinned=is_pinned,
    )
    _ask(connection, lambda operator: operator.load(wish))
    print(f"loaded '{name}'")


def unload_adapter(connection: ConnectionConfig, name: str) -> None:
    """Requests that began on it end on it."""
    _ask(connection, lambda operator: operator.unload(name))
    print(f"unloaded '{name}'")


def pin_adapter(connection: ConnectionConfig, name: str, *, is_pinned: bool) -> None:
    """Keep it on the device, or no longer."""
    _ask(connection, lambda operator: operator.pin(name, is_pinned=is_pinned))
    print(f"{'pinned' if is_pinned else 'unpinned'} '{name}'")


def _ask(connection: ConnectionConfig, question: Callable[[Operator], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with Client(connection.base_url, api_key=connection.api_key) as client:
            return await answered(question(Operator(client)))

    return asyncio.run(ask())


def _row(state: AdapterState) -> tuple[str, ...]:
    return (
        state.name,
        str(state.generation),
        state.standing + (" (pinned)" if state.pinned else ""),
        state.tier,
        state.state,
        UNKNOWN if state.rank is None else str(state.rank),
        UNKNOWN if state.pages is None else f"{state.pages:,}",
        UNKNOWN if state.digest is None else state.digest[:DIGEST_DIGITS],
        state.path,
    )
