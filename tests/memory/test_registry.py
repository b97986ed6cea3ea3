"""A name means one content at a time, and every generation lives as long as it is needed."""

from dataclasses import replace

import pytest

from motet.errors import AdapterExists, ModelNotFound
from motet.memory.adapter import Adapter, Standing
from motet.memory.registry import MAX_REMEMBERED, AdapterRegistry
from tests.engine.factories import a_memory, an_adapter


def unread(name: str, path: str) -> Adapter:
    return Adapter(name, None, 0, 0, 0, path)


def a_registry() -> AdapterRegistry:
    return a_memory(20).registry


def numbers(registry: AdapterRegistry, name: str) -> list[int]:
    return [generation.adapter.generation for generation in registry.listed("", 99, name)]


def test_a_name_means_its_last_generation_while_requests_end_on_theirs() -> None:
    registry = a_registry()
    old = registry.add(an_adapter("a"))
    registry.arrived(old)
    new = registry.add(replace(an_adapter("a"), digest="other"))
    assert registry.current("a") is new and registry.find(old.adapter) is old
    assert numbers(registry, "a") == [1, 2]
    registry.finished(old)
    assert old.standing is Standing.GONE and numbers(registry, "a") == [2]
    assert registry.find(old.adapter) is new  # who comes too late gets what the name means now


def test_what_is_unloaded_is_refused_by_name() -> None:
    registry = a_registry()
    registry.retire(registry.add(an_adapter("a")))
    with pytest.raises(ModelNotFound, match="'a' has never been loaded, or is unloaded"):
        registry.current("a")
    registry.must_be_free("a")


def test_a_name_that_is_taken_says_from_where() -> None:
    registry = a_registry()
    registry.add(an_adapter("a"))
    message = "The lora adapter 'a' has already been loaded from '/a': unload it first"
    with pytest.raises(AdapterExists, match=message):
        registry.must_be_free("a")


def test_no_number_of_a_name_is_used_twice() -> None:
    """Also where a younger generation is gone before an elder one."""
    registry = a_registry()
    old = registry.add(an_adapter("a"))
    registry.arrived(old)
    registry.retire(registry.add(an_adapter("a")))
    registry.retire(registry.add(an_adapter("a")))
    registry.finished(old)
    registry.retire(registry.add(an_adapter("a")))
    assert numbers(registry, "a") == []
    registry.add(an_adapter("a"))
    assert numbers(registry, "a") == [5]


def test_only_so_many_names_that_are_gone_are_remembered() -> None:
    registry = a_registry()
    for number in range(MAX_REMEMBERED + 10):
        registry.retire(registry.add(unread(f"a{number}", "/a")))
    assert len(registry._last_numbers) == MAX_REMEMBERED


def test_every_change_is_told_once_in_order() -> None:
    registry = a_registry()
    first = registry.add(an_adapter("a"))
    registry.arrived(first)
    registry.add(an_adapter("a"))
    registry.finished(first)
    told = [(news.adapter.generation, news.standing) for news in registry.take_news()]
    assert told == [
        (1, Standing.CURRENT),
        (1, Standing.LEAVING),
        (2, Standing.CURRENT),
        (1, Standing.GONE),
    ]
    assert registry.take_news() == ()


def test_names_are_listed_in_order_a_page_at_a_time() -> None:
    registry = a_registry()
    for name in "dbca":
        registry.add(an_adapter(name))
    assert [g.adapter.name for g in registry.listed("", 2, None)] == ["a", "b"]
    assert [g.adapter.name for g in registry.listed("b", 9, None)] == ["c", "d"]
    assert [g.adapter.name for g in registry.listed("", 9, "c")] == ["c"]
    assert registry.listed("", 9, "nobody") == []


def test_names_of_equal_content_share_it_until_the_last_one_goes() -> None:
    memory = a_memory(20, adapters=[an_adapter("a"), replace(an_adapter("a"), name="twin")])
    one, twin = memory.registry.current("a"), memory.registry.current("twin")
    assert one.state is twin.state
    memory.registry.retire(one)
    assert memory.transfers().forgotten == () and memory.host.pool.num_free == 254
    memory.registry.retire(twin)
    assert memory.transfers().forgotten == ("digest-of-a",) and memory.host.pool.num_free == 256
    memory.check()
