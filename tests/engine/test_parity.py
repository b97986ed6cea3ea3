"""The engine against transformers and unmerged PEFT, with everything memory can do in between."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count, islice

import pytest
import torch
from torch import Tensor

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.device.local import LocalExecutor
from motet.engine.models import MODELS, Model, read_config
from motet.engine.models.inputs import DeviceState, StepInputs
from motet.engine.output import TokenLogprobs, TokenOutput
from motet.engine.plan import Batch, StepResult
from motet.engine.request import Request, SamplingParams
from motet.engine.start import build as start
from motet.engine.start.build import build
from motet.kernels import LoraBatch
from motet.memory.adapter import Adapter
from motet.memory.copy import Transfers
from motet.memory.costs import Costs
from tests.adapter_factory import ADAPTER_KINDS
from tests.engine.adapter_storm import ADAPTER_EVENTS
from tests.engine.drive import RealEngine
from tests.engine.storm import FORCED_EVENTS, Storm
from tests.model_factory import VOCAB_SIZE
from tests.reference import MAX_EXCLUDED_SHARE, Reference, check_greedy, make_reference

NUM_TOKENS = 64

NOT_OF_MEMORY = ("abort between steps", "abort during a step", *ADAPTER_EVENTS)
MEMORY_EVENTS = [event for event in FORCED_EVENTS if event not in NOT_OF_MEMORY]
MEMORY_EVENTS = [event for event in MEMORY_EVENTS if not event.endswith("copy")]

WHOLE_PREFILL = BatchConfig(max_batch_tokens=2048, max_batch_rows=40, max_batch_adapters=20)
CHUNKED_PREFILL = BatchConfig(max_batch_tokens=19, max_batch_rows=7, max_batch_adapters=4)


@pytest.fixture(scope="module", params=MODELS)
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    return make_reference(tmp_path_factory.mktemp("parity"), request.param)


@dataclass(slots=True)
class Recorder:
    """Executes plans and keeps the logits of every row that samples."""

    executor: LocalExecutor
    logits: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    most_adapters: int = 0
    """In one batch."""

    def begin(self, transfers: Transfers) -> None:
        self.executor.begin(transfers)

    def execute(self, batch: Batch) -> StepResult:
        self.most_adapters = max(self.most_adapters, len(batch.adapters))
        model = _RecordingModel(self.executor._model)
        self.executor._model = model
        result = self.executor.execute(batch)
        self.executor._model = model.model
        rows = [row for row in batch.rows if row.sampling]
        for index, row in enumerate(rows):
            self.logits[row.request_id, row.num_generated] = model.calls[0][index]
        return result


@dataclass(slots=True)
class _RecordingModel:
    model: Model
    calls: list[Tensor] = field(default_factory=list)
    """Logits of the latest step: of what is sampled, then slices of prompts."""

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        return self.model.forward(inputs, state)

    def logits(self, hidden: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        logits = self.model.logits(hidden, lora, state)
        self.calls.append(logits.clone())
        return logits


def an_engine(reference: Reference, batch: BatchConfig, num_pages: int) -> EngineCore:
    head_dim = read_config(str(reference.model)).head_dim
    page_bytes = 3 * 2 * 16 * 2 * head_dim * 4  # layers, K and V, tokens, KV heads, fp32
    config = EngineConfig(
        model=str(reference.model),
        adapters=tuple((name, str(path)) for name, path in reference.adapters.items()),
        model_config=ModelConfig(device="cpu", dtype="float32", max_model_len=256),
        pool=PoolConfig(pool_bytes=num_pages * page_bytes),
        batch=batch,
    )
    core = build(config, lambda what, done, total: None, poison_released=True)
    assert core.info.page_bytes == page_bytes and core.info.num_pages == num_pages
    return core


def some_requests(adapters: list[Adapter | None], rng: random.Random) -> Iterator[Request]:
    """On each adapter in turn, in pairs that begin alike; some want prompt logprobs."""
    beginning = [rng.randrange(3, VOCAB_SIZE) for _ in range(72)]
    for number in count():
        shared = beginning[: (49, 72, 0)[number // 2 % 3]]
        own = [rng.randrange(3, VOCAB_SIZE) for _ in range(rng.randrange(1, 30))]
        num_prompt_logprobs = 3 if number % 5 == 0 else None
        sampling = SamplingParams(
            NUM_TOKENS, temperature=0, num_prompt_logprobs=num_prompt_logprobs
        )
        adapter = adapters[number // 2 % len(adapters)]
        yield Request(f"{number}", (*shared, *own), sampling, adapter)


@pytest.mark.parametrize(
    ("batch", "num_pages", "num_requests", "is_stormy"),
    [(WHOLE_PREFILL, 800, 36, False), (CHUNKED_PREFILL, 110, 46, True)],
    ids=["calm", "storm"],
)
def test_logits_and_greedy_tokens_equal_the_reference(
    reference: Reference,
    batch: BatchConfig,
    num_pages: int,
    num_requests: int,
    is_stormy: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "costs_of", lambda *_: Costs())  # a model so small computes sooner
    core = an_engine(reference, batch, num_pages)
    assert isinstance(core.executor, LocalExecutor)
    recorder = Recorder(core.executor)
    rng = random.Random(0)
    requests: dict[str, Request] = {}
    tokens: dict[str, list[int]] = defaultdict(list)
    scores: dict[str, tuple[TokenLogprobs, ...]] = {}

    def arrivals() -> Iterator[Request]:
        """So many, and in a storm more until it has shown everything: real time is never twice
        the same."""
        for request in islice(some_requests([None, *core.info.adapters], rng), 4 * num_requests):
            if len(requests) >= num_requests and not (is_stormy and missing()):
                return
            requests[request.request_id] = request
            yield request

    def missing() -> list[str]:
        return [event for event in MEMORY_EVENTS if storm.forced[event] < 2]

    def hear(output: TokenOutput) -> None:
        assert output.token_id is not None
        scores.setdefault(output.request_id, output.prompt_logprobs)
        tokens[output.request_id].append(output.token_id)

    chance = 0.3 if is_stormy else 0.0
    storm = Storm(
        RealEngine(replace(core, executor=recorder)),
        rng,
        arrivals(),
        hear,
        max_unfinished=num_requests,
        abort_probability=0.0,
        preempt_probability=chance / 4,
        evict_probability=chance,
    )
    storm.turn()
    while storm.unfinished:
        storm.turn()

    num_excluded = sum(
        _compare(request, tokens[name], recorder, reference) for name, request in requests.items()
    )
    for name, request in requests.items():
        _compare_scores(request, scores[name], reference)
    assert num_excluded / (len(requests) * NUM_TOKENS) < MAX_EXCLUDED_SHARE
    if is_stormy:
        assert not missing(), storm.forced
    else:
        assert recorder.most_adapters == len(ADAPTER_KINDS) >= 8


def _compare(request: Request, tokens: list[int], recorder: Recorder, reference: Reference) -> int:
    """Check one sequence; returns how many of its positions a thin margin excludes."""
    assert len(tokens) == NUM_TOKENS
    adapter = request.adapter.name if request.adapter else None
    expected = reference.logits(request.prompt, tokens, adapter)
    got = torch.stack([recorder.logits[request.request_id, i] for i in range(NUM_TOKENS)])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    return check_greedy(tokens, expected)


def _compare_scores(
    request: Request, scores: tuple[TokenLogprobs, ...], reference: Reference
) -> None:
    """Check the prompt logprobs of one sequence: its own tokens, and the most likely ones."""
    num_logprobs = request.sampling.num_prompt_logprobs
    if num_logprobs is None:
        assert scores == ()
        return
    first, *rest = request.prompt
    adapter = request.adapter.name if request.adapter else None
    expected = reference.logits([first], rest, adapter).log_softmax(-1)
    own = torch.tensor([score.logprob for score in scores])
    torch.testing.assert_close(own, expected[range(len(rest)), rest], atol=1e-4, rtol=0)
    best = torch.tensor([[logprob for _, logprob in score.top] for score in scores])
    torch.testing.assert_close(best, expected.topk(num_logprobs).values, atol=1e-4, rtol=0)
    ids = torch.tensor([[token for token, _ in score.top] for score in scores])
    torch.testing.assert_close(best, expected.gather(-1, ids), atol=1e-4, rtol=0)
