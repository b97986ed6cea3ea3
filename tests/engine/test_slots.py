"""A slot belongs to one adapter for as long as anyone uses it."""

from motet.engine.slots import SlotTable


def test_users_of_one_adapter_share_its_slot() -> None:
    slots = SlotTable(2)
    assert slots.acquire("a") == slots.acquire("a") == 0
    assert slots.acquire("b") == 1
    assert slots.has_room("a") and not slots.has_room("c")


def test_a_slot_is_rebound_only_after_its_last_user() -> None:
    slots = SlotTable(1)
    slots.acquire("a")
    slots.acquire("a")
    slots.release("a")
    assert not slots.has_room("b")
    slots.release("a")
    assert slots.acquire("b") == 0
