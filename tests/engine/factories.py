"""Small builders with defaults, so that a test says only what it is about."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from motet.engine.config import BatchConfig
from motet.engine.fake.clock import StepCost, VirtualClock
from motet.engine.fake.disk import FakeDisk
from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.lines import Lines
from motet.engine.fake.token_hash import adapter_page
from motet.engine.inbox import Inbox
from motet.engine.messages import Arrived
from motet.engine.output import EngineInfo
from motet.engine.plan import BASE_SLOT, PromptTargets, Row
from motet.engine.policy import FirstComeFirstServed, SchedulingPolicy
from motet.engine.request import Request, SamplingParams
from motet.engine.scheduler import Scheduler
from motet.engine.sequence import Sequence
from motet.memory.adapter import Adapter, AdapterContent
from motet.memory.adapter_cache import AdapterState
from motet.memory.agent import AgentCall
from motet.memory.copy import ReadEnded
from motet.memory.costs import Costs
from motet.memory.eviction import EVICTION
from motet.memory.manager import MemoryConfig, MemoryManager
from motet.memory.prefix import Namespace
from motet.memory.residency import Residency

PAGE_TOKENS = 4
VOCAB_SIZE = 1000
KV_IS_DROPPED = Costs(page_copy_s=1e9)
"""Computing is sooner than copying."""

_ids = count()


def an_adapter(name: str = "a", num_pages: int = 2) -> Adapter:
    return Adapter(name, f"digest-of-{name}", 1, 8, num_pages, f"/{name}")


def a_request(
    prompt: Iterable[int] | int = 6,
    max_tokens: int = 4,
    adapter: Adapter | None = None,
    request_id: str | None = None,
    cache_salt: str = "",
    deadline_s: float | None = None,
    agent: AgentCall | None = None,
    **sampling: Any,
) -> Request:
    """`prompt` is tokens, or their number: then no other request has the same ones.

    The rest are fields of SamplingParams.
    """
    number = next(_ids)
    tokens = (
        tuple(10_000 * number + i for i in range(prompt))
        if isinstance(prompt, int)
        else tuple(prompt)
    )
    return Request(
        request_id or f"r{number}",
        tokens,
        SamplingParams(max_tokens, **sampling),
        adapter,
        cache_salt,
        deadline_s,
        agent,
    )


def a_sampling_row(
    num_generated: int = 0, history: tuple[int, ...] = (), max_tokens: int = 100, **sampling: Any
) -> Row:
    """As the sampler sees it. The last `num_generated` tokens of the history are the output."""
    params = SamplingParams(max_tokens, **sampling)
    return Row("r", (1,), 0, (), BASE_SLOT, params, num_generated, history)


def a_scored_row(targets: Iterable[int], num_logprobs: int = 0, request_id: str = "r") -> Row:
    """One whose tokens are followed by `targets`."""
    tokens = tuple(targets)
    return Row(
        request_id=request_id,
        tokens=(0, *tokens),
        start=0,
        pages=(),
        slot=BASE_SLOT,
        sampling=None,
        num_generated=0,
        targets=PromptTargets(1, tokens, num_logprobs),
    )


def a_memory(
    num_pages: int,
    num_host_pages: int = 256,
    page_tokens: int = PAGE_TOKENS,
    adapters: Iterable[Adapter] = (),
    costs: Costs = KV_IS_DROPPED,
    num_adapter_pages: int | None = None,
    eviction: str = "lru",
    prefetches: bool = True,
) -> MemoryManager:
    """With the adapters on the host."""
    config = MemoryConfig(
        num_pages=num_pages,
        page_tokens=page_tokens,
        base_model="base",
        num_host_pages=num_host_pages,
        num_adapter_pages=num_adapter_pages,
        costs=costs,
        prefetches=prefetches,
    )
    memory = MemoryManager(config, EVICTION[eviction])
    for adapter in adapters:
        state = memory.registry.add(adapter).state
        if state.state is not Residency.DISK:  # another name has the same content
            continue
        memory.adapters.call(state, (0.0, 0))
        memory.adapters.load_wanted(0)
        for read in memory.transfers().reads:
            content = AdapterContent(adapter.max_rank, adapter.num_pages, adapter.digest)
            memory.ended(ReadEnded(read.ticket, content))
        memory.adapters.call(state, None)
    return memory


def a_scheduler(
    num_pages: int = 32,
    max_batch_tokens: int = 64,
    max_batch_rows: int = 8,
    max_batch_adapters: int = 4,
    max_model_len: int = 256,
    adapters: Iterable[Adapter] = (),
    requests: Iterable[Request] = (),
    policy: SchedulingPolicy | None = None,
    num_host_pages: int = 256,
    costs: Costs = KV_IS_DROPPED,
    num_adapter_pages: int | None = None,
    eviction: str = "lru",
    prefetches: bool = True,
) -> Scheduler:
    """With the adapters on the host, as if they had been used before."""
    memory = a_memory(
        num_pages,
        num_host_pages,
        PAGE_TOKENS,
        adapters,
        costs,
        num_adapter_pages,
        eviction,
        prefetches,
    )
    scheduler = Scheduler(
        BatchConfig(max_batch_tokens, max_batch_rows, max_batch_adapters),
        max_model_len,
        memory,
        policy or FirstComeFirstServed(),
    )
    for request in requests:
        scheduler.handle(Arrived(request, now=0.0))
    return scheduler


def an_executor(
    scheduler: Scheduler, inbox: Inbox | None = None, lines: Lines | None = None
) -> FakeExecutor:
    """With all adapters on its disk, and on its host those that the scheduler takes to be there.

    By default its lines take no time.
    """
    executor = FakeExecutor(
        scheduler.memory.num_pages,
        scheduler.memory.host.pool.num_pages,
        PAGE_TOKENS,
        VOCAB_SIZE,
        inbox or Inbox(),
        VirtualClock(),
        StepCost(),
        lines or Lines(),
        FakeDisk(),
    )
    for generation in scheduler.memory.registry:
        adapter, host = generation.adapter, generation.state.host
        if adapter.digest is not None:
            executor.disk.put(adapter.path, adapter.digest, adapter.num_pages)
        for index, page in enumerate(host.lease.pages if host and host.lease else ()):
            assert adapter.digest is not None
            executor.known.add(adapter.digest)
            executor.host_pages[page] = adapter_page(adapter.digest, index, PAGE_TOKENS)
    return executor


def the_state(scheduler: Scheduler, adapter: Adapter) -> AdapterState:
    """What memory knows of an adapter."""
    generation = scheduler.memory.registry.find(adapter)
    assert generation is not None
    return generation.state


def a_sequence(arrival: int = 1, request: Request | None = None) -> Sequence:
    namespace = Namespace("base", None, "")
    return Sequence(request or a_request(), (0.0, arrival), namespace=namespace)


def an_info() -> EngineInfo:
    return EngineInfo(
        model="fake",
        architecture="FakeForCausalLM",
        dtype="float32",
        device="cpu",
        vocab_size=VOCAB_SIZE,
        max_model_len=256,
        eos_token_ids=(),
        max_lora_rank=8,
        max_batch_rows=8,
        max_batch_adapters=4,
        num_pages=64,
        page_bytes=1,
        page_tokens=PAGE_TOKENS,
        rank16_adapter_pages=4,
        adapters=(an_adapter(),),
    )
