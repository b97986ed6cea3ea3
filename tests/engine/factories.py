"""Small builders with defaults, so that a test says only what it is about."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from motet.engine.config import BatchConfig
from motet.engine.fake.clock import StepCost, VirtualClock
from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.link import VirtualLink
from motet.engine.inbox import Inbox
from motet.engine.messages import Arrived
from motet.engine.output import EngineInfo
from motet.engine.plan import BASE_SLOT, PromptTargets, Row
from motet.engine.policy import FirstComeFirstServed, SchedulingPolicy
from motet.engine.request import Request, SamplingParams
from motet.engine.scheduler import Scheduler
from motet.engine.sequence import Sequence
from motet.memory.adapter import Adapter
from motet.memory.eviction import LeastRecentlyUsed
from motet.memory.manager import MemoryManager
from motet.memory.prefix import Namespace

PAGE_TOKENS = 4
VOCAB_SIZE = 1000

_ids = count()


def an_adapter(name: str = "a", num_pages: int = 2) -> Adapter:
    return Adapter(name, f"digest-of-{name}", 1, 8, num_pages)


def a_request(
    prompt: Iterable[int] | int = 6,
    max_tokens: int = 4,
    adapter: Adapter | None = None,
    request_id: str | None = None,
    cache_salt: str = "",
    deadline_s: float | None = None,
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


def a_scheduler(
    num_pages: int = 32,
    max_batch_tokens: int = 64,
    max_batch_rows: int = 8,
    max_batch_adapters: int = 4,
    max_model_len: int = 256,
    adapters: Iterable[Adapter] = (),
    requests: Iterable[Request] = (),
    policy: SchedulingPolicy | None = None,
) -> Scheduler:
    scheduler = Scheduler(
        BatchConfig(max_batch_tokens, max_batch_rows, max_batch_adapters),
        max_model_len,
        MemoryManager(num_pages, PAGE_TOKENS, "base", LeastRecentlyUsed()),
        policy or FirstComeFirstServed(),
    )
    for adapter in adapters:
        scheduler.memory.adapters.register(adapter)
    for request in requests:
        scheduler.handle(Arrived(request, now=0.0))
    return scheduler


def an_executor(
    scheduler: Scheduler, inbox: Inbox | None = None, link: VirtualLink | None = None
) -> FakeExecutor:
    """By default its link takes no time."""
    return FakeExecutor(
        scheduler.memory.num_pages,
        PAGE_TOKENS,
        VOCAB_SIZE,
        inbox or Inbox(),
        VirtualClock(),
        StepCost(),
        link or VirtualLink(),
    )


def a_sequence(arrival: int = 1, request: Request | None = None) -> Sequence:
    return Sequence(request or a_request(), (0.0, arrival), Namespace("base", None, ""))


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
