"""What the device has no room for lives on the host, and comes back when it is asked for."""

from itertools import count

import pytest

from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Fault, LinkCost, VirtualLink
from motet.engine.lengths import ENOUGH
from motet.engine.messages import Aborted
from motet.engine.output import FinishReason
from motet.engine.request import Request
from motet.memory.costs import Costs
from tests.engine.factories import KV_IS_DROPPED, PAGE_TOKENS, a_request, a_scheduler, an_adapter
from tests.engine.serving import Serving

PROMPT = range(6 * PAGE_TOKENS)
_prompts = count(1000, 1000)


def with_two_tiers(
    lines: Lines | None = None,
    num_pages: int = 12,
    num_host_pages: int = 32,
    costs: Costs | None = None,
) -> Serving:
    scheduler = a_scheduler(
        num_pages=num_pages, num_host_pages=num_host_pages, costs=costs or Costs()
    )
    return Serving(scheduler, lines)


def a_session(max_tokens: int = 2) -> Request:
    return a_request(PROMPT, max_tokens)


def a_crowd(num_pages: int = 12) -> Request:
    """One that fills the device."""
    start = next(_prompts)
    return a_request(range(start, start + num_pages * PAGE_TOKENS - 2), 2)


def serve_both(serving: Serving) -> Request:
    """A session, another one in its place, and the first again: that request."""
    again = a_session()
    for request in (a_session(), a_crowd(), again):
        serving.serve(request)
    assert serving.is_right(again)
    return again


def num_cached(serving: Serving, request: Request) -> int:
    return serving.outputs[request.request_id][0].num_cached_tokens


# Restoring.


def test_evicted_kv_comes_back_from_the_host_instead_of_being_computed() -> None:
    serving = with_two_tiers()
    again = serve_both(serving)
    assert num_cached(serving, again) == len(PROMPT) - PAGE_TOKENS
    stats = serving.stats
    assert stats.restored_kv_pages == 5 and stats.written_back_kv_pages >= 6
    assert stats.loaded_pages == 5 and stats.adapter_loads == 0


def test_kv_that_is_computed_sooner_is_neither_written_back_nor_restored() -> None:
    serving = with_two_tiers(costs=KV_IS_DROPPED)
    again = serve_both(serving)
    assert num_cached(serving, again) == 0
    stats = serving.stats
    assert (stats.restored_kv_pages, stats.written_back_kv_pages) == (0, 0)


def test_kv_whose_restore_fails_is_computed() -> None:
    serving = with_two_tiers(Lines(to_device=VirtualLink(faults={Fault.FAILED: 1.0})))
    again = serve_both(serving)
    # What has come before it failed is of use.
    assert num_cached(serving, again) == 2 * PAGE_TOKENS
    assert serving.memory.copies.counters.failed == 1


def test_kv_whose_restore_is_lost_is_computed_when_patience_ends() -> None:
    serving = with_two_tiers(Lines(to_device=VirtualLink(faults={Fault.LATE: 1.0})))
    again = serve_both(serving)
    assert num_cached(serving, again) == 0
    assert serving.memory.copies.counters.lost == 1
    serving.until_idle()
    assert serving.stats.pages_quarantined == 0


def test_kv_whose_write_back_fails_is_dropped() -> None:
    serving = with_two_tiers(Lines(to_host=VirtualLink(faults={Fault.FAILED: 1.0})))
    again = serve_both(serving)
    assert num_cached(serving, again) < len(PROMPT) - PAGE_TOKENS
    assert serving.memory.copies.counters.failed > 0


def test_who_waits_for_its_prefix_holds_up_nobody_and_takes_nothing() -> None:
    serving = with_two_tiers(Lines(to_device=VirtualLink(LinkCost(page_s=0.2))))
    for request in (a_session(), a_crowd()):
        serving.serve(request)
    begun_s = serving.engine.now
    again, other = a_session(), a_request(3, 1)
    serving.send(again, other)
    serving.turn()
    assert serving.stats.num_waiting_for_state == 1
    serving.finish([other])
    assert serving.engine.now - begun_s < 0.03
    serving.finish([again])
    assert serving.engine.now - begun_s == pytest.approx(1.0, abs=0.1)
    assert serving.stats.state_waits == 1
    assert serving.stats.state_wait_s == pytest.approx(1.0, abs=0.1)


def test_two_that_share_a_prefix_wait_for_one_copy_of_it() -> None:
    serving = with_two_tiers(Lines(to_device=VirtualLink(LinkCost(page_s=0.01))))
    for request in (a_session(), a_crowd()):
        serving.serve(request)
    twins = [a_session(), a_session()]
    serving.serve(*twins)
    assert [num_cached(serving, twin) for twin in twins] == [len(PROMPT) - PAGE_TOKENS] * 2
    assert serving.stats.restored_kv_pages == 5


def test_who_gives_up_while_its_prefix_comes_leaves_it_to_others() -> None:
    serving = with_two_tiers(Lines(to_device=VirtualLink(LinkCost(page_s=0.2))))
    for request in (a_session(), a_crowd()):
        serving.serve(request)
    gone, again = a_session(), a_session()
    serving.send(gone)
    serving.turn()
    serving.engine.core.inbox.put(Aborted(gone.request_id))
    serving.until_idle()
    serving.serve(again)
    assert num_cached(serving, again) == len(PROMPT) - PAGE_TOKENS
    assert serving.stats.restored_kv_pages == 5


def test_a_prefix_on_the_host_is_of_use_though_its_adapter_was_evicted() -> None:
    adapter = an_adapter(num_pages=4)
    scheduler = a_scheduler(
        num_pages=14, num_host_pages=32, adapters=[adapter], costs=Costs(), max_model_len=40
    )
    serving = Serving(scheduler)
    again = a_request(PROMPT, 2, adapter)
    for request in (a_request(PROMPT, 2, adapter), a_crowd(10), a_crowd(10), again):
        serving.serve(request)
    assert serving.stats.adapter_page_evictions >= 4
    assert num_cached(serving, again) == len(PROMPT) - PAGE_TOKENS
    assert serving.is_right(again, adapter.digest, 4)


def test_it_is_computed_where_so_much_is_queued_on_the_link_that_this_is_sooner() -> None:
    """A page is copied in 1 s and a token computed in 1.4: 5 pages are 5 s against 28."""
    costs = Costs(page_copy_s=1.0, token_s=1.4)
    adapter = an_adapter(num_pages=30)
    scheduler = a_scheduler(
        num_pages=46, num_host_pages=64, adapters=[adapter], costs=costs, max_model_len=200
    )
    serving = Serving(scheduler, Lines(to_device=VirtualLink(LinkCost(page_s=1.0))))
    for request in (a_session(), a_crowd(44)):
        serving.serve(request)
    loading, again = a_request(4, 2, adapter), a_session()
    serving.send(loading)
    serving.turn()
    serving.serve(again)
    assert num_cached(serving, again) == 0 and serving.stats.restored_kv_pages == 0
    serving.finish([loading])


# Write-back.


def test_idle_kv_is_written_back_in_idle_time_before_its_pages_are_needed() -> None:
    serving = with_two_tiers()
    serving.serve(a_session())
    assert serving.stats.written_back_kv_pages == 0  # there is room enough
    serving.serve(a_request(range(100, 100 + 4 * PAGE_TOKENS), 1))
    serving.until_idle()
    serving.turn()
    stats = serving.stats
    assert stats.written_back_kv_pages > 0 and stats.kv_page_evictions == 0


def test_where_the_host_is_full_of_what_is_on_the_device_kv_is_dropped() -> None:
    adapter = an_adapter(num_pages=3)
    scheduler = a_scheduler(num_pages=15, num_host_pages=3, adapters=[adapter], costs=Costs())
    serving = Serving(scheduler)
    request = a_request(5, 24, adapter)  # its adapter stays on both tiers
    serving.serve(a_session(), request)
    assert serving.is_right(request, adapter.digest, 3)
    stats = serving.stats
    assert stats.written_back_kv_pages == stats.host_adapter_page_evictions == 0
    assert stats.kv_page_evictions > 0


def test_a_host_without_pages_is_no_host() -> None:
    serving = with_two_tiers(num_host_pages=0)
    again = serve_both(serving)
    assert num_cached(serving, again) == 0 and serving.stats.host_pages == 0


def test_a_preempted_sequence_goes_on_with_what_the_host_has_of_it() -> None:
    """Only its last page, which is not full, is computed again."""
    serving = with_two_tiers(num_pages=14)
    for _ in range(ENOUGH):
        serving.scheduler._lengths.finished(None, 1)
    requests = [a_request(range(1000 * n, 1000 * n + 12), 36) for n in range(2)]
    first, second = serving.serve(*requests)
    assert first.finish_reason is second.finish_reason is FinishReason.LENGTH
    assert all(serving.is_right(request) for request in requests)
    stats = serving.stats
    assert stats.preemptions > 0 and stats.restored_kv_pages > 0
    assert stats.recomputed_tokens <= stats.preemptions * PAGE_TOKENS


# Adapters.


def test_an_adapter_that_left_both_tiers_is_read_again() -> None:
    adapters = [an_adapter(name, num_pages=6) for name in "ab"]
    serving = Serving(a_scheduler(num_pages=11, num_host_pages=6))
    for adapter in adapters:
        serving.save(adapter)
        serving.memory.registry.add(adapter)
    for adapter in (*adapters, *adapters):
        request = a_request(4, 2, adapter)
        serving.serve(request)
        assert serving.is_right(request, adapter.digest, 6)
    stats = serving.stats
    assert (stats.adapter_reads, stats.adapter_loads, stats.read_pages) == (4, 4, 24)
    assert stats.host_adapter_page_evictions == 18


def test_an_adapter_that_is_on_the_host_is_loaded_without_a_read() -> None:
    adapters = [an_adapter(name, num_pages=6) for name in "ab"]
    serving = Serving(a_scheduler(num_pages=11, num_host_pages=12, adapters=adapters))
    for adapter in (*adapters, *adapters):
        serving.serve(a_request(4, 2, adapter))
    stats = serving.stats
    assert (stats.adapter_reads, stats.adapter_loads) == (2, 4)  # the reads came before all
    assert (stats.adapter_hits_host, stats.adapter_hits_disk) == (4, 0)


def test_requests_count_where_their_adapter_was_when_they_came() -> None:
    adapter = an_adapter()
    serving = Serving(a_scheduler())
    serving.save(adapter)
    serving.memory.registry.add(adapter)
    for _ in range(3):
        serving.serve(a_request(4, 2, adapter))
    stats = serving.stats
    hits = (stats.adapter_hits_device, stats.adapter_hits_host, stats.adapter_hits_disk)
    assert hits == (2, 0, 1)


def test_the_seconds_of_loads_are_added_up() -> None:
    adapter = an_adapter(num_pages=2)
    lines = Lines(to_device=VirtualLink(LinkCost(latency_s=0.3, page_s=0.1)))
    serving = Serving(a_scheduler(adapters=[adapter]), lines)
    serving.serve(a_request(4, 2, adapter))
    assert serving.stats.load_s == pytest.approx(0.5, abs=0.02)
    assert serving.stats.state_waits == 1
    assert serving.stats.state_wait_s == pytest.approx(0.5, abs=0.02)


# A pool that is split.


def test_in_a_split_pool_adapters_take_the_place_of_adapters_alone() -> None:
    adapters = [an_adapter(name, num_pages=4) for name in "ab"]
    scheduler = a_scheduler(num_pages=20, num_adapter_pages=6, adapters=adapters)
    serving = Serving(scheduler)
    serving.serve(a_request(range(9), 1))
    for adapter in adapters:
        serving.serve(a_request(3, 1, adapter))
    stats = serving.stats
    assert (stats.adapter_page_evictions, stats.kv_page_evictions) == (4, 0)
    assert stats.pages_free == 20 - 4 - 2


def test_in_a_split_pool_kv_takes_the_place_of_kv_alone() -> None:
    adapter = an_adapter(num_pages=4)
    scheduler = a_scheduler(num_pages=20, num_adapter_pages=6, adapters=[adapter])
    serving = Serving(scheduler)
    serving.serve(a_request(3, 1, adapter))
    for _ in range(3):
        serving.serve(a_crowd(14))
    stats = serving.stats
    assert stats.adapter_page_evictions == 0 and stats.kv_page_evictions > 0
    assert stats.idle_pages_adapter == 4


@pytest.mark.parametrize(
    ("num_pages", "prompt", "says"),
    [
        (7, 4, "the adapter takes 7 pages, the pool has room for 6 of adapters"),
        (6, 60, "need 16 pages, the pool has 14"),
    ],
)
def test_in_a_split_pool_what_does_not_fit_its_part_is_refused(
    num_pages: int, prompt: int, says: str
) -> None:
    adapter = an_adapter(num_pages=num_pages)
    scheduler = a_scheduler(num_pages=20, num_adapter_pages=6)
    scheduler.memory.registry.add(adapter)
    [refused] = Serving(scheduler).serve(a_request(prompt, 4, adapter))
    assert refused.finish_reason is FinishReason.REFUSED
    assert says in (refused.error or "")
