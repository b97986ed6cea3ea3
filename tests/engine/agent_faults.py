"""Bugs to plant where state is moved for agents: the oracle or a check must see each."""

from collections.abc import Callable
from typing import Any

from motet.engine.fake.executor import FakeExecutor
from motet.engine.scheduler import Scheduler
from motet.memory.agent import AgentCall
from motet.memory.agents import Agent
from motet.memory.copy import CopyEnded, Transfers
from motet.memory.owner import Owner
from motet.memory.prefix import Chain, PrefixNode
from tests.engine.faults import Fault, _patch, _release_only_once


def children_without_their_parent(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    missing = scheduler.memory.kv.missing

    def skip(frontier: PrefixNode) -> Chain:
        return missing(frontier)[1:]

    _patch(scheduler.memory.kv, "missing", skip)


def a_host_page_freed_while_it_is_copied_ahead(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    begin, memory = executor.begin, scheduler.memory

    def free(transfers: Transfers) -> None:
        begin(transfers)
        for each in memory.copies:
            for state in each.subjects if each.is_ahead else ():
                if state.host and state.host.lease and not state.host.lease.is_released:
                    memory.host.pool.release(state.host.lease)

    _release_only_once(scheduler)
    _patch(executor, "begin", free)


def what_is_hurried_taken_for_complete(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    begin, memory = executor.begin, scheduler.memory

    def tell(transfers: Transfers) -> None:
        begin(transfers)
        for each in memory.copies:
            if each.work.ticket in transfers.hurried:
                executor.inbox.put(CopyEnded(each.work.ticket, each.num_pages))

    _patch(executor, "begin", tell)


def a_copy_ahead_given_up_that_writes_on(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    copies = scheduler.memory.copies
    give_up = copies.give_up

    def forget(each: Any) -> None:
        was_ahead = each.is_ahead
        give_up(each)
        if was_ahead:
            for lease in each.leases:
                each.room.give_back(lease)
            del copies._under_way[each.work.ticket]
            copies._cancelled.remove(each.work.ticket)

    _patch(copies, "give_up", forget)


def a_frontier_that_is_gone(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    index = scheduler.memory.kv._index
    remove = index.remove

    def leave(node: PrefixNode) -> None:
        owners = list(node.ends_of)
        remove(node)
        for owner in owners:
            owner.frontier = node

    _patch(index, "remove", leave)


def shelves_left_where_they_were(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    agents = scheduler.memory.agents
    reckon = agents.reckon

    def forget(agent: Agent) -> None:
        shelves, agent.shelves = agent.shelves, []
        reckon(agent)
        agent.shelves = shelves

    _patch(agents, "reckon", forget)


def an_agent_nobody_looks_at(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    _patch(scheduler.memory.agents.schedule, "reopen", lambda agent: None)


def an_owner_of_two_adapters(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    adapters = scheduler.memory.adapters
    own = adapters.own

    def keep(state: Any, owner: Owner, *, is_owned: bool) -> None:
        if is_owned:
            own(state, owner, is_owned=True)

    _patch(adapters, "own", keep)


def a_call_that_never_ends(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    agents = scheduler.memory.agents
    end = agents.end

    def forget(agent: Agent, call: AgentCall) -> None:
        if rng.random() < 0.9:
            end(agent, call)

    _patch(agents, "end", forget)


def pages_that_live_again_taken_for_clean(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    kv = scheduler.memory.kv
    end_at: Callable[..., None] = kv.end_at

    def without_note(*args: Any) -> None:
        note, kv.note = kv.note, lambda node: None  # type: ignore[method-assign]
        end_at(*args)
        kv.note = note  # type: ignore[method-assign]

    _patch(kv, "end_at", without_note)


AGENT_FAULTS: tuple[Fault, ...] = (
    children_without_their_parent,
    a_host_page_freed_while_it_is_copied_ahead,
    what_is_hurried_taken_for_complete,
    a_copy_ahead_given_up_that_writes_on,
    a_frontier_that_is_gone,
    shelves_left_where_they_were,
    an_agent_nobody_looks_at,
    an_owner_of_two_adapters,
    a_call_that_never_ends,
    pages_that_live_again_taken_for_clean,
)
