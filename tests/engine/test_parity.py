"""The engine against transformers and unmerged PEFT, with everything memory can do in between."""

import random
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.device.build import build
from motet.engine.device.inputs import DeviceState, StepInputs
from motet.engine.device.local import LocalExecutor
from motet.engine.models import MODELS, Model
from motet.engine.output import TokenOutput
from motet.engine.plan import StepPlan, StepResult
from motet.engine.request import Request, SamplingParams
from motet.memory.adapter import Adapter
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.engine.storm import Storm
from tests.model_factory import MAKERS, VOCAB_SIZE

pytestmark = pytest.mark.filterwarnings("ignore:The following alpha_pattern:RuntimeWarning")

NUM_TOKENS = 64
MARGIN = 1e-3
"""Where the reference's two best tokens are closer than this, rounding may choose."""
MAX_EXCLUDED_SHARE = 0.05

MEMORY_EVENTS = (
    "chunked prefill", "prefix hit", "preemption", "KV eviction", "adapter eviction",
    "adapter load",
)  # fmt: skip

WHOLE_PREFILL = BatchConfig(max_batch_tokens=1024, max_batch_rows=16, max_batch_adapters=16)
CHUNKED_PREFILL = BatchConfig(max_batch_tokens=19, max_batch_rows=7, max_batch_adapters=4)


@dataclass(frozen=True, slots=True)
class Reference:
    """A model directory, its adapters, and what transformers and PEFT make of them."""

    model: Path
    adapters: dict[str, Path]
    peft: PeftModel

    @torch.inference_mode()
    def logits(self, tokens: list[int], adapter: str | None) -> Tensor:
        """fp32 `[len(tokens), vocab]`."""
        ids = torch.tensor([tokens])
        if adapter is not None:
            self.peft.set_adapter(_peft_name(adapter))
        with nullcontext() if adapter else self.peft.disable_adapter():
            logits: Tensor = self.peft(ids).logits[0]
        return logits


@pytest.fixture(scope="module", params=MODELS)
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    directory = tmp_path_factory.mktemp("parity")
    model = MAKERS[request.param](directory / "model", num_hidden_layers=3)
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapters = {
        name: save_adapter(base, directory / name, kind, seed)
        for seed, (name, kind) in enumerate(ADAPTER_KINDS.items())
    }
    (first, path), *others = adapters.items()
    peft = PeftModel.from_pretrained(base, str(path), adapter_name=_peft_name(first))
    for name, path in others:
        peft.load_adapter(str(path), adapter_name=_peft_name(name))
    return Reference(model, adapters, peft)


def _peft_name(name: str) -> str:
    """PEFT makes modules of adapter names, so 'bfloat16' would clash with a method."""
    return f"adapter-{name}"


@dataclass(slots=True)
class Recorder:
    """Executes plans and keeps the logits of every row that samples."""

    executor: LocalExecutor
    logits: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def execute(self, plan: StepPlan) -> StepResult:
        model = _RecordingModel(self.executor._model)
        self.executor._model = model
        result = self.executor.execute(plan)
        self.executor._model = model.model
        rows = [row for row in plan.batch.rows if row.sampling]
        for index, row in enumerate(rows):
            self.logits[row.request_id, row.num_generated] = model.logits[index]
        return result


@dataclass(slots=True)
class _RecordingModel:
    model: Model
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        logits = self.model.forward(inputs, state)
        self.logits = logits.clone()
        return logits


def an_engine(reference: Reference, batch: BatchConfig, num_pages: int) -> EngineCore:
    page_bytes = 3 * 2 * 16 * 2 * 16 * 4  # layers, K and V, tokens, KV heads, head_dim, fp32
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
    """On each adapter in turn, in pairs that begin alike."""
    beginning = [rng.randrange(3, VOCAB_SIZE) for _ in range(40)]
    for number in count():
        shared = beginning[: (33, 40, 0)[number % 3]]
        own = [rng.randrange(3, VOCAB_SIZE) for _ in range(rng.randrange(1, 30))]
        sampling = SamplingParams(NUM_TOKENS, temperature=0)
        adapter = adapters[number // 2 % len(adapters)]
        yield Request(f"{number}", (*shared, *own), sampling, adapter)


@pytest.mark.parametrize(
    ("batch", "num_pages", "num_requests", "is_stormy"),
    [(WHOLE_PREFILL, 600, 24, False), (CHUNKED_PREFILL, 110, 36, True)],
    ids=["calm", "storm"],
)
def test_logits_and_greedy_tokens_equal_the_reference(
    reference: Reference,
    batch: BatchConfig,
    num_pages: int,
    num_requests: int,
    is_stormy: bool,
) -> None:
    core = an_engine(reference, batch, num_pages)
    assert isinstance(core.executor, LocalExecutor)
    recorder = Recorder(core.executor)
    rng = random.Random(0)
    requests = {
        request.request_id: request
        for request in islice(some_requests([None, *core.info.adapters], rng), num_requests)
    }
    tokens: dict[str, list[int]] = {name: [] for name in requests}

    def hear(output: TokenOutput) -> None:
        assert output.token_id is not None
        tokens[output.request_id].append(output.token_id)

    chance = 0.3 if is_stormy else 0.0
    storm = Storm(
        core.scheduler,
        recorder,
        rng,
        iter(requests.values()),
        hear,
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
    assert num_excluded / (num_requests * NUM_TOKENS) < MAX_EXCLUDED_SHARE
    if is_stormy:
        assert all(storm.forced[event] >= 5 for event in MEMORY_EVENTS), storm.forced


def _compare(request: Request, tokens: list[int], recorder: Recorder, reference: Reference) -> int:
    """Check one sequence; returns how many of its positions a thin margin excludes."""
    adapter = request.adapter.name if request.adapter else None
    assert len(tokens) == NUM_TOKENS
    expected = reference.logits([*request.prompt, *tokens], adapter)[len(request.prompt) - 1 : -1]
    best_two = expected.topk(2).values
    is_thin = (best_two[:, 0] - best_two[:, 1] < MARGIN).tolist()
    num_compared = is_thin.index(True) if True in is_thin else NUM_TOKENS
    assert tokens[:num_compared] == expected.argmax(-1).tolist()[:num_compared]
    got = torch.stack([recorder.logits[request.request_id, i] for i in range(NUM_TOKENS)])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    return NUM_TOKENS - num_compared
