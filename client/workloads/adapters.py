"""The adapters of a generated population."""

from collections.abc import Iterable

from motet.client.workloads.trace import AdapterShape

RANKS = (8, 16, 32, 64)
TARGETS = ("q", "k", "v", "o")


def adapters_of(names: Iterable[str]) -> dict[str, AdapterShape]:
    """Ranks in turn, so that all are equally frequent."""
    return {
        name: AdapterShape(RANKS[index % len(RANKS)], TARGETS) for index, name in enumerate(names)
    }
