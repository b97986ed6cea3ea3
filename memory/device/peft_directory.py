"""Whether a directory is an adapter at all, and where the adapter may be instead."""

import re
from pathlib import Path

from motet.file_names import ADAPTER_CONFIG, MODEL_CONFIG
from motet.memory.device.files import ADAPTER, must_be_directory

MAX_NAMED = 8
"""Adapters that a message lists."""


def must_be_adapter(directory: Path) -> None:
    """Raises AdapterError for a path that is no adapter, naming the adapters in it."""
    must_be_directory(directory, ADAPTER)
    if (directory / ADAPTER_CONFIG).exists():
        return
    inner = _adapters_in(directory)
    if inner:
        last = inner[-1]
        others = "".join(f", '{name}'" for name in inner[-MAX_NAMED:-1])
        raise ADAPTER.fault(
            directory,
            f"{ADAPTER_CONFIG} is missing, but adapters are in it: did you mean "
            f"'{directory / last}'?" + (f" (there are also{others[1:]})" if others else ""),
        )
    if (directory / MODEL_CONFIG).exists():
        raise ADAPTER.fault(
            directory,
            f"it is a model, not an adapter ({MODEL_CONFIG} is there, {ADAPTER_CONFIG} is not): "
            "serve it as MODEL",
        )


def _adapters_in(directory: Path) -> list[str]:
    """Directories that trainers save into: `checkpoint-500`, or one of the adapter's name."""
    try:
        names = [path.parent.name for path in directory.glob(f"*/{ADAPTER_CONFIG}")]
    except OSError:  # what cannot be listed is missing its configuration, no more is known
        return []
    return sorted(names, key=_in_order_of_steps)


def _in_order_of_steps(name: str) -> tuple[int, str]:
    number = re.search(r"\d+$", name)
    return (int(number[0]) if number else -1, name)
