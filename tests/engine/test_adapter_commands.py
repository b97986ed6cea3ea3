"""Adapters come, change and go while requests run on them."""

import pytest

from motet.engine.messages import (
    ListAdapters,
    LoadAdapter,
    PinAdapter,
    RegisterAdapter,
    ResetPrefixCache,
    UnloadAdapter,
)
from motet.engine.output import FinishReason
from motet.memory.adapter import Adapter, Standing
from motet.memory.residency import Residency
from tests.engine.factories import a_request, a_scheduler, an_adapter
from tests.engine.serving import Serving


def unread(name: str = "a") -> Adapter:
    """What a server knows of a directory."""
    return Adapter(name, None, 0, 0, 0, f"/{name}")


def with_directories(*adapters: Adapter, num_pages: int = 32, num_host_pages: int = 64) -> Serving:
    """Registered, and read by nobody."""
    serving = Serving(a_scheduler(num_pages=num_pages, num_host_pages=num_host_pages))
    for adapter in adapters:
        serving.save(adapter)
        serving.call(RegisterAdapter(unread(adapter.name)))
    return serving


# Reading.


def test_a_request_on_an_unread_adapter_is_told_what_it_runs_on() -> None:
    serving = with_directories(an_adapter())
    request = a_request(adapter=unread())
    [last] = serving.serve(request)
    assert last.finish_reason is FinishReason.LENGTH
    assert serving.outputs[request.request_id][0].adapter_digest == "digest-of-a"
    assert serving.is_right(request, "digest-of-a", 2)
    assert serving.stats.adapter_reads == 2  # its header first


def test_a_read_that_fails_ends_those_who_wait_for_it_and_nobody_else() -> None:
    serving = with_directories(an_adapter("a"), an_adapter("b"))
    serving.executor.disk.remove("/a")
    waiting = [a_request(adapter=unread("a")) for _ in range(2)]
    *failed, other, base = serving.serve(*waiting, a_request(adapter=unread("b")), a_request())
    for output in failed:
        assert (output.finish_reason, output.error_kind) == (FinishReason.ERROR, "AdapterError")
        assert output.error == "adapter 'a' cannot be served: '/a' does not exist"
    assert other.finish_reason is base.finish_reason is FinishReason.LENGTH


def test_a_read_that_has_failed_is_tried_again_by_the_next() -> None:
    serving = with_directories(an_adapter())
    serving.executor.disk.remove("/a")
    serving.serve(a_request(adapter=unread()))
    [status] = serving.call(ListAdapters(name="a")).adapters
    assert status.last_error == "'/a' does not exist"
    serving.save(an_adapter())
    [last] = serving.serve(a_request(adapter=unread()))
    assert last.finish_reason is FinishReason.LENGTH
    [status] = serving.call(ListAdapters(name="a")).adapters
    assert status.last_error is None


def test_a_directory_that_has_changed_is_noticed_and_never_runs() -> None:
    adapter = an_adapter(num_pages=6)
    serving = with_directories(
        adapter, an_adapter("b", num_pages=6), num_pages=11, num_host_pages=6
    )
    serving.serve(a_request(max_tokens=1, adapter=unread("a")))
    serving.serve(a_request(max_tokens=1, adapter=unread("b")))  # it takes the place of the other
    serving.save(adapter, "another")
    [changed] = serving.serve(a_request(adapter=unread("a")))
    assert (changed.finish_reason, changed.error_kind) == (FinishReason.ERROR, "AdapterChanged")
    assert "'/a' has changed" in (changed.error or "")
    serving.call(LoadAdapter("a", "/a", in_place=True))
    request = a_request(adapter=unread("a"))
    serving.serve(request)
    assert serving.is_right(request, "another", 6)


@pytest.mark.parametrize(
    ("num_pages", "says"),
    [
        (33, "the adapter takes 33 pages, the pool has 32: start with more --pool-bytes"),
        (17, "the adapter takes 17 pages, the host has 16: start with more --host-bytes"),
    ],
)
def test_an_adapter_that_is_too_large_is_refused_with_numbers_however_often(
    num_pages: int, says: str
) -> None:
    serving = with_directories(an_adapter(num_pages=num_pages), num_host_pages=16)
    for _ in range(2):
        [refused] = serving.serve(a_request(adapter=unread()))
        assert refused.error == f"adapter 'a' cannot be served: {says}"
        for command in (PinAdapter("a", True), LoadAdapter("b", "/a")):
            reply = serving.call(command)
            assert (reply.kind, reply.error) == ("AdapterError", says)


def test_a_request_that_does_not_fit_beside_its_adapter_hears_so_once_that_is_known() -> None:
    serving = with_directories(an_adapter(num_pages=30))
    [refused] = serving.serve(a_request(8, 4, unread()))
    assert refused.finish_reason is FinishReason.REFUSED
    assert "12 tokens and the adapter need 33 pages, the pool has 32" in (refused.error or "")
    [served] = serving.serve(a_request(4, 4, unread()))
    assert served.finish_reason is FinishReason.LENGTH


def test_an_adapter_that_many_wait_for_is_read_once() -> None:
    serving = with_directories(an_adapter())
    serving.serve(*(a_request(adapter=unread()) for _ in range(20)))
    assert (serving.stats.adapter_reads, serving.stats.adapter_loads) == (2, 1)


def test_names_of_equal_content_share_pages_and_kv() -> None:
    twin = Adapter("twin", "digest-of-a", 0, 8, 2, "/twin")
    serving = with_directories(an_adapter(), twin)
    serving.serve(a_request(range(9), adapter=unread("a")))
    request = a_request(range(9), adapter=unread("twin"))
    serving.serve(request)
    assert serving.outputs[request.request_id][0].num_cached_tokens == 8
    assert (serving.stats.pages_adapter, serving.stats.adapter_loads) == (2, 1)


# Loading and unloading.


def test_a_load_is_answered_when_the_content_is_on_the_host() -> None:
    serving = with_directories()
    serving.save(an_adapter())
    [status] = serving.call(LoadAdapter("a", "/a")).adapters
    assert (status.adapter, status.standing) == (an_adapter(), Standing.CURRENT)
    assert status.state is Residency.HOST


def test_a_load_that_fails_leaves_nothing() -> None:
    serving = with_directories()
    reply = serving.call(LoadAdapter("a", "/a"))
    assert (reply.kind, reply.error) == ("AdapterError", "'/a' does not exist")
    assert not serving.memory.adapters.states() and not len(serving.memory.registry)


def test_of_two_loads_of_one_name_the_second_is_refused() -> None:
    """Also while the first is under way."""
    serving = with_directories()
    serving.save(an_adapter())
    calls = [serving.begin(LoadAdapter("a", "/a")) for _ in range(2)]
    serving.until_idle()
    first, second = (serving.replies[call_id] for call_id in calls)
    third = serving.call(LoadAdapter("a", "/a"))
    assert first.error is None and second.kind == third.kind == "AdapterExists"
    assert len(serving.memory.registry) == 1


def test_after_a_reload_in_place_requests_end_on_theirs_and_new_ones_run_on_the_new() -> None:
    serving = with_directories(an_adapter())
    old, new = (a_request(6, 20, unread()) for _ in range(2))
    serving.send(old)
    while not serving.outputs[old.request_id]:
        serving.turn()
    serving.save(an_adapter(), "another")
    [status] = serving.call(LoadAdapter("a", "/a", in_place=True)).adapters
    assert (status.adapter.generation, status.adapter.digest) == (2, "another")
    listed = serving.call(ListAdapters()).adapters
    assert [(s.adapter.generation, s.standing) for s in listed] == [
        (1, Standing.LEAVING),
        (2, Standing.CURRENT),
    ]
    serving.send(new)
    serving.finish([old, new])
    assert serving.is_right(old, "digest-of-a", 2) and serving.is_right(new, "another", 2)
    assert len(serving.memory.adapters.states()) == 1


def test_a_reload_of_the_same_content_shares_everything() -> None:
    serving = with_directories(an_adapter())
    serving.serve(a_request(range(9), adapter=unread()))
    serving.call(LoadAdapter("a", "/a", in_place=True))
    request = a_request(range(9), adapter=unread())
    serving.serve(request)
    assert serving.outputs[request.request_id][0].num_cached_tokens == 8
    assert serving.stats.adapter_loads == 1


def test_unloading_frees_all_at_the_next_plan() -> None:
    serving = with_directories(an_adapter())
    serving.serve(a_request(range(9), adapter=unread()))
    serving.until_idle()
    assert serving.stats.pages_adapter and serving.stats.pages_kv
    assert serving.call(UnloadAdapter("a")).error is None
    stats = serving.stats
    assert (stats.pages_free, stats.host_pages_free) == (32, 64)
    assert not serving.executor.known
    assert "digest-of-a" not in serving.scheduler._lengths._by_adapter


def test_who_runs_on_what_is_unloaded_ends_in_peace_and_nobody_else_begins() -> None:
    serving = with_directories(an_adapter())
    request = a_request(6, 20, unread())
    serving.send(request)
    while not serving.outputs[request.request_id]:
        serving.turn()
    serving.call(UnloadAdapter("a"))
    [late] = serving.serve(a_request(adapter=Adapter("a", None, 9, 0, 0)))
    assert (late.finish_reason, late.error_kind) == (FinishReason.ERROR, "ModelNotFound")
    [last] = serving.finish([request])
    assert last.index == 19 and serving.is_right(request, "digest-of-a", 2)
    serving.turn()
    assert serving.stats.pages_free == 32


@pytest.mark.parametrize("command", [UnloadAdapter("a"), PinAdapter("a", True)])
def test_commands_on_names_that_mean_nothing_say_so(
    command: UnloadAdapter | PinAdapter,
) -> None:
    reply = with_directories().call(command)
    assert reply.kind == "ModelNotFound" and "'a' has never been loaded" in (reply.error or "")


def test_a_prefix_cache_that_is_reset_is_empty_in_both_tiers() -> None:
    serving = with_directories()
    serving.serve(a_request(range(30)))
    assert serving.stats.pages_kv
    serving.call(ResetPrefixCache())
    assert (serving.stats.pages_kv, serving.stats.host_pages_kv) == (0, 0)


# Pinning.


def test_a_pinned_adapter_comes_to_the_device_and_is_never_evicted() -> None:
    pinned, other = an_adapter("a", num_pages=2), an_adapter("b", num_pages=4)
    serving = with_directories(pinned, other, num_pages=70)
    assert serving.call(PinAdapter("a", True)).error is None
    serving.until_idle()
    serving.serve(*(a_request(200, 20, unread("b")) for _ in range(3)))
    [status] = serving.call(ListAdapters(name="a")).adapters
    assert (status.state, status.is_pinned, status.loads) == (Residency.DUAL, True, 1)
    serving.call(PinAdapter("a", False))
    serving.serve(*(a_request(200, 20, unread("b")) for _ in range(3)))
    [status] = serving.call(ListAdapters(name="a")).adapters
    assert (status.is_pinned, status.evictions) == (False, 1)


def test_pinning_what_would_leave_too_little_is_refused_with_numbers() -> None:
    serving = with_directories(an_adapter("a", 4), an_adapter("b", 3), num_pages=70)
    serving.call(LoadAdapter("c", "/b"))
    assert serving.call(PinAdapter("a", True)).error == (
        "adapter 'a' cannot be pinned: beside it, the largest other adapter and a full context "
        "there have to be 71 pages, 70 are not pinned: unpin another one or start with more "
        "--pool-bytes"
    )
    [status] = serving.call(ListAdapters(name="a")).adapters
    assert not status.is_pinned


def test_a_pin_holds_through_the_discovery_that_another_name_has_the_same() -> None:
    twin = Adapter("twin", "digest-of-a", 0, 8, 2, "/twin")
    serving = with_directories(an_adapter(), twin, num_pages=80)
    serving.call(PinAdapter("a", True))
    serving.call(PinAdapter("twin", True))
    serving.call(PinAdapter("a", False))
    serving.until_idle()
    assert serving.memory.adapters.num_pinned_pages == 2
    serving.call(UnloadAdapter("twin"))
    assert serving.memory.adapters.num_pinned_pages == 0
    serving.call(UnloadAdapter("a"))
    assert serving.stats.pages_free == 80
