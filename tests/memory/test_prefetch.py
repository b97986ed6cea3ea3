"""What is brought before agents call: the nearest first, and never for one who is needed later."""

import math

from motet.engine.fake.link import LinkCost, VirtualLink
from motet.memory.agent import AgentKey
from motet.memory.agents import Agent
from motet.memory.copy import Copy, Direction, PagePair, Ticket
from motet.memory.costs import Costs
from motet.memory.forecast import Source
from motet.memory.page import PageId
from motet.memory.residency import Residency
from tests.engine.factories import KV_IS_DROPPED, an_adapter
from tests.memory.agent_world import AgentWorld, text


def with_kv_on_host(num_pages: int = 12, num_agents: int = 3, **memory: object) -> AgentWorld:
    """Agents a, b, c.. with two pages each."""
    world = AgentWorld(num_pages, **memory)
    for name in "abcdef"[:num_agents]:
        world.put_on_host(world.call(name, text(name, 2)))
    return world


def agent(world: AgentWorld, name: str) -> Agent:
    found = world.memory.agents.find(AgentKey("", name))
    assert found is not None
    return found


def coming(world: AgentWorld) -> str:
    """Whose frontier is on its way."""
    return "".join(
        each.agent_id
        for each in world.memory.agents
        if each.frontier and each.frontier.state is Residency.LOADING
    )


def order(world: AgentWorld, copies: list[Copy]) -> str:
    """Whose they are, as they were begun."""
    owners = [world.memory.copies._under_way[copy.ticket].subjects[0] for copy in copies]
    found = [owner.nearest_owner() for owner in owners]
    return "".join(owner.agent_id for owner in found if isinstance(owner, Agent))


def test_nobody_says_anything_so_nothing_comes() -> None:
    assert with_kv_on_host().step() == []


def test_the_nearest_comes_first_and_who_never_calls_does_not_come() -> None:
    world = with_kv_on_host(num_agents=4)
    world.push(a=9.0, b=1.0, c=4.0, d=math.inf)
    assert order(world, world.step()) == "bca"
    assert world.memory.prefetcher.counters.issued[Source.PUSH] == 3


def test_what_is_on_the_device_is_not_looked_at_again_until_it_has_left() -> None:
    world = with_kv_on_host()
    world.push(a=1.0, b=2.0, c=3.0)
    world.end(world.step())
    assert world.step() == [] and not any(each.is_open for each in world.memory.agents)
    world.put_on_host(agent(world, "b"))
    assert order(world, world.step()) == "b"


def test_an_adapter_comes_before_the_kv_that_was_computed_with_it() -> None:
    world = AgentWorld(adapters=[an_adapter()])
    [adapter] = world.memory.adapters.states()
    world.memory.adapters.want(adapter, (0.0, 1))
    world.memory.adapters.load_wanted(0)
    world.end(world.memory.transfers().copies)
    world.memory.adapters.want(adapter, None)
    caller = world.call("a", text("a", 2), adapter)
    world.put_on_host(caller)
    world.memory.room.evict(adapter)
    world.push(a=1.0)
    copies = world.step()
    assert [len(copy.pages) for copy in copies] == [adapter.size, 2]
    world.end(copies[:1])
    assert adapter.is_on_device and coming(world) == "a"


def test_without_its_adapter_in_memory_kv_is_of_no_use() -> None:
    world = AgentWorld(adapters=[an_adapter()])
    [adapter] = world.memory.adapters.states()
    caller = world.call("a", text("a", 2), adapter)
    world.put_on_host(caller)
    assert adapter.host is not None
    world.memory.host.evict(adapter.host)
    world.push(a=1.0)
    world.memory.use_links(0)
    transfers = world.memory.transfers()
    assert transfers.copies == () and len(transfers.reads) == 1


def test_nothing_goes_for_it_that_is_needed_sooner() -> None:
    world = with_kv_on_host(num_pages=4, num_agents=2)
    world.push(a=1.0, b=2.0)
    world.end(world.step())
    other = world.call("c", text("c", 2))  # both have to go for it, or one
    world.push(c=1.0, a=5.0, b=5.4)
    before = other.frontier
    world.end(world.step())
    assert other.frontier is before is not None and before.is_on_device


def test_who_is_needed_half_a_step_later_makes_no_way() -> None:
    world = with_kv_on_host(num_pages=2, num_agents=1)
    world.call("b", text("b", 2))
    world.put_on_host(agent(world, "b"))
    world.push(b=3.0)
    world.end(world.step())
    world.push(a=3.0, b=3.4)
    assert world.step() == []
    world.push(a=1.0, b=5.0)
    assert order(world, world.step()) == "a"


def test_it_stops_at_the_first_that_does_not_fit() -> None:
    world = AgentWorld(num_pages=4)
    world.put_on_host(world.call("large", text("l", 4)))
    world.put_on_host(world.call("near", text("n", 2)))
    world.put_on_host(world.call("last", text("z", 1)))
    world.push(near=1.0, large=2.0, last=3.0)
    copies = world.step()
    assert [len(copy.pages) for copy in copies] == [2, 2]  # a part of the second, none of the last
    assert order(world, copies).startswith("near")


def test_pages_that_are_reserved_for_those_who_run_are_left_to_them() -> None:
    world = with_kv_on_host(num_pages=4)
    world.push(a=1.0, b=2.0, c=3.0)
    assert order(world, world.step(num_reserved=2)) == "a"


def test_what_is_sooner_computed_than_copied_is_not_copied() -> None:
    world = with_kv_on_host(costs=Costs(page_copy_s=0.001))
    world.memory.kv._costs = KV_IS_DROPPED
    world.push(a=1.0)
    assert world.step() == []


def test_no_more_is_queued_than_the_link_moves_until_the_next_step() -> None:
    world = with_kv_on_host(num_agents=6, costs=Costs(page_copy_s=0.005))
    world.push(a=1.0, b=1.0, c=1.0, d=1.0, e=1.0, f=1.0)
    assert len(world.step()) == 2  # a step takes 10 ms, a page 5 ms: two steps of two pages


def test_a_copy_for_who_is_not_expected_any_more_is_given_up() -> None:
    world = with_kv_on_host()
    world.push(a=1.0, b=2.0)
    assert len(world.step()) == 2
    world.push(a=math.inf)
    world.memory.use_links(0)
    assert len(world.memory.transfers().cancelled) == 1
    assert coming(world) == "b"


def test_what_was_brought_is_counted_when_its_agent_calls() -> None:
    world = with_kv_on_host()
    world.push(a=1.0, b=1.0, c=1.0)
    copies = world.step()
    world.end(copies[:1] + copies[2:])
    world.memory.room.evict(next(iter(agent(world, "c").frontier.path())))  # type: ignore[union-attr]
    for name in "abc":
        world.memory.prefetcher.called(agent(world, name))
    counters = world.memory.prefetcher.counters
    assert (counters.useful, counters.late, counters.wasted) == (1, 1, 1)
    assert counters.pages == 6


def test_room_is_never_made_of_what_the_same_agent_needs() -> None:
    """Though another owner, who is far off, was the last to be looked at."""
    world = AgentWorld(num_pages=4, eviction="lru")
    prompt = text("a", 4)
    far = world.call("far", prompt)
    world.call("near", prompt)
    world.put_on_host(far)
    world.push(near=60.0, far=1.0)
    world.push(far=60.0, near=61.0)
    world.end(world.step(num_reserved=2))  # the first two
    world.push(far=math.inf, near=1.0)
    world.end(world.step(num_reserved=0))
    assert all(node.is_on_device for node in agent(world, "near").frontier.path())  # type: ignore[union-attr]


def test_demand_waits_for_one_chunk_of_what_is_ahead_at_most() -> None:
    link = VirtualLink(LinkCost(page_s=1.0, chunk_pages=2))
    link.begin(a_copy(1, num_pages=100, is_ahead=True), 0.0)
    link.begin(a_copy(2, num_pages=3, is_ahead=False), 2.5)
    [ended] = link.ended(4.0 + 3.0)
    assert ended.work.ticket == Ticket(2)


def a_copy(ticket: int, num_pages: int, is_ahead: bool) -> Copy:
    pages = tuple(PagePair(PageId(page), PageId(page)) for page in range(num_pages))
    return Copy(Ticket(ticket), Direction.TO_DEVICE, pages, is_ahead)
