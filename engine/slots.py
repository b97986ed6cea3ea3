"""Which slot of the device tables stands for which adapter of the running set."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Bound:
    slot: int
    num_users: int


class SlotTable:
    """Slots 0..num_slots; a digest keeps its slot from its first user to its last."""

    def __init__(self, num_slots: int) -> None:
        self._free = list(range(num_slots - 1, -1, -1))
        self._bound: dict[str, _Bound] = {}

    def has_room(self, digest: str) -> bool:
        """False when every slot stands for another adapter."""
        return digest in self._bound or bool(self._free)

    def acquire(self, digest: str) -> int:
        """One more user of the adapter; there must be room."""
        bound = self._bound.get(digest)
        if bound is None:
            bound = self._bound[digest] = _Bound(self._free.pop(), 0)
        bound.num_users += 1
        return bound.slot

    def release(self, digest: str) -> None:
        bound = self._bound[digest]
        bound.num_users -= 1
        if bound.num_users == 0:
            self._free.append(bound.slot)
            del self._bound[digest]

    def users(self) -> dict[str, int]:
        """Digest -> number of users."""
        return {digest: bound.num_users for digest, bound in self._bound.items()}
