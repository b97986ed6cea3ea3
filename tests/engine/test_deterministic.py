"""Deterministic mode: an answer is the same in every bit, whatever else runs and however it is cut.

Logprobs show bits of the logits that tokens alone would hide.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.messages import Arrived
from motet.engine.request import Request, SamplingParams
from motet.engine.start.blueprint import blueprint_of
from motet.engine.start.build import build
from motet.errors import ConfigError
from motet.kernels.cpu import compiler
from motet.kernels.cpu.native import Library
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.engine.drive import RealEngine
from tests.model_factory import FAMILIES, make_model

ARCHITECTURES = ("LlamaForCausalLM", "Qwen3ForCausalLM")
SIZES: dict[str, Any] = {"hidden_size": 320, "intermediate_size": 600, "initializer_range": 0.05}
MAX_TOKENS = 6
BATCHES = {
    "large steps": BatchConfig(max_batch_tokens=2048),
    "small chunks": BatchConfig(max_batch_tokens=37),
}
TOGETHER = 64

Answer = list[tuple[int | None, float | None, tuple[tuple[int, float], ...]]]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """An engine sets the number of threads for good."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def config(
    request: pytest.FixtureRequest, dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> EngineConfig:
    """A model whose sums are long enough to be cut, and adapters of mixed ranks."""
    path = tmp_path_factory.mktemp("deterministic")
    model = make_model(request.param, path / "model", dtype=getattr(torch, dtype), **SIZES)
    base = FAMILIES[request.param].model.from_pretrained(model)
    kinds = ADAPTER_KINDS.items()
    adapters = tuple((name, str(save_adapter(base, path / name, kind))) for name, kind in kinds)
    options = ModelConfig(device="cpu", dtype=dtype, deterministic=True, threads=2)
    return EngineConfig(str(model), adapters, options, PoolConfig(pool_bytes=24 * 2**20))


def engine(config: EngineConfig, **changes: Any) -> EngineCore:
    return build(replace(config, **changes), lambda what, done, total: None)


def requests(core: EngineCore, rng: random.Random, count: int) -> list[Request]:
    """Some share a beginning: those that come later find it in the prefix index."""
    beginnings = [[], *([rng.randrange(3, 320) for _ in range(n)] for n in (16, 50, 200))]
    return [
        Request(
            str(number),
            tuple(rng.choice(beginnings) + rng.choices(range(3, 320), k=rng.randint(1, 80))),
            SamplingParams(
                max_tokens=MAX_TOKENS, temperature=rng.choice((0, 1)), seed=number, num_logprobs=3
            ),
            rng.choice([None, *core.info.adapters]),
        )
        for number in range(count)
    ]


def answers(core: EngineCore, asked: Sequence[Request], together: int) -> dict[str, Answer]:
    """All bits of each answer, `together` requests at a time, which arrive a few each step."""
    result: dict[str, Answer] = defaultdict(list)
    engine = RealEngine(core)
    for start in range(0, len(asked), together):
        waiting = [Arrived(request, 0.0) for request in asked[start : start + together]]
        while waiting or core.scheduler.has_work:
            arriving, waiting = waiting[:9], waiting[9:]
            for message in arriving:
                core.inbox.put(message)
            for output in core.turn(engine.take(), engine.now).outputs:
                assert output.error is None
                result[output.request_id].append((output.token_id, output.logprob, output.top))
    return result


@pytest.mark.parametrize(
    "count", [64, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("batch", BATCHES)
def test_answers_are_those_of_each_request_alone_in_every_bit(
    config: EngineConfig, batch: str, count: int
) -> None:
    core = engine(config)
    asked = requests(core, random.Random(count), count)
    alone = answers(core, asked, together=1)

    crowded = engine(config, batch=BATCHES[batch])
    together = answers(crowded, asked, TOGETHER)
    random.Random(1).shuffle(asked)
    again = answers(crowded, asked, TOGETHER)

    assert together == alone
    assert again == alone
    assert crowded.scheduler.stats().prefix_hit_tokens > 0


def test_the_number_of_threads_changes_no_bit(config: EngineConfig) -> None:
    results = []
    for threads in (1, 2):
        core = engine(config, model_config=replace(config.model_config, threads=threads))
        results.append(answers(core, requests(core, random.Random(0), 20), TOGETHER))

    assert results[0] == results[1]


def test_a_pool_that_holds_one_request_at_a_time_changes_no_bit(config: EngineConfig) -> None:
    core = engine(config)
    asked = requests(core, random.Random(2), 40)
    expected = answers(core, asked, TOGETHER)
    num_pages = 320 // core.info.page_tokens + max(a.num_pages for a in core.info.adapters)

    tight = engine(
        config,
        model_config=replace(config.model_config, max_model_len=320),
        pool=PoolConfig(pool_bytes=num_pages * core.info.page_bytes),
    )

    assert answers(tight, asked, TOGETHER) == expected
    assert tight.scheduler.stats().adapter_page_evictions > 0


def test_without_native_kernels_it_is_refused(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Library, "_handle", None)
    monkeypatch.setattr(Library, "_failure", None)
    monkeypatch.setattr(compiler, "COMPILERS", ("no-such-compiler",))
    monkeypatch.delenv("CXX", raising=False)

    with pytest.raises(ConfigError, match=r"--deterministic needs the native kernels: no C\+\+"):
        engine(config)


def test_on_a_gpu_it_is_refused(config: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    with pytest.raises(ConfigError, match="--deterministic is for CPUs"):
        blueprint_of(replace(config, model_config=replace(config.model_config, device="cuda")))
