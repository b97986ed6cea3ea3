"""What is estimated before a start is what the start then does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.models.linear import find_packer
from motet.engine.start import estimate as estimating
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.build import build
from motet.engine.start.estimate import AdapterEstimate, estimate, plan
from motet.engine.start.origin import AdapterOrigin
from motet.errors import AdapterError, ConfigError
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.model_factory import VOCAB_SIZE, make_llama

KINDS = ("all-linear", "patterns", "rank-64")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, str], ...]:
    base, directory = LlamaForCausalLM.from_pretrained(model), tmp_path_factory.mktemp("adapters")
    return tuple(
        (kind, str(save_adapter(base, directory / kind, ADAPTER_KINDS[kind]))) for kind in KINDS
    )


def an_adapter(num_pages: int) -> AdapterEstimate:
    origin = AdapterOrigin(None, None, "default", False, 0, ("float32",), (), False, ())
    return AdapterEstimate("a", "/a", 8, num_pages, origin)


@pytest.fixture
def blueprint(model: Path) -> Blueprint:
    return blueprint_of(EngineConfig(str(model), pool=PoolConfig(pool_bytes=1024**2)))


@pytest.mark.parametrize(
    ("model_config", "pool"),
    [
        (ModelConfig(), PoolConfig(pool_bytes=2 * 1024**2)),
        (ModelConfig(dtype="bfloat16"), PoolConfig(pool_bytes=2 * 1024**2 + 1)),
        (ModelConfig(max_model_len=64), PoolConfig(pool_bytes=1024**2, page_tokens=24)),
    ],
    ids=["default", "bfloat16", "page-tokens"],
)
def test_a_plan_is_what_the_start_does(
    model_config: ModelConfig,
    pool: PoolConfig,
    model: Path,
    adapters: tuple[tuple[str, str], ...],
) -> None:
    pool = replace(pool, host_bytes=2**24)  # else what is free changes meanwhile
    config = EngineConfig(str(model), adapters, model_config, pool)
    planned = plan(config)
    info = build(config, lambda stage, done, total: None).info
    for name in [
        "model",
        "architecture",
        "dtype",
        "device",
        "max_model_len",
        "num_pages",
        "num_host_pages",
        "page_bytes",
        "page_tokens",
    ]:
        assert getattr(planned, name) == getattr(info, name), name
    assert {rank.rank: rank.adapter_pages for rank in planned.ranks}[
        16
    ] == info.rank16_adapter_pages
    assert [(a.name, a.path, a.max_rank, a.num_pages) for a in planned.adapters] == [
        (a.name, a.path, a.max_rank, a.num_pages) for a in info.adapters
    ]


def test_the_weights_are_counted_in_the_dtype_they_are_loaded_in(model: Path) -> None:
    num_weights = LlamaForCausalLM.from_pretrained(model).num_parameters()
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        planned = plan(EngineConfig(str(model), model_config=ModelConfig(dtype=dtype)))
        assert planned.weights_bytes == num_weights * size


def test_a_tied_head_is_counted_twice_where_it_is_packed(tmp_path: Path) -> None:
    tied = make_llama(tmp_path, tie_word_embeddings=True)
    num_weights = LlamaForCausalLM.from_pretrained(tied).num_parameters()
    num_copied = VOCAB_SIZE * 64 if find_packer(torch.float32, torch.device("cpu")) else 0
    options = ModelConfig(device="cpu", dtype="float32")
    planned = plan(EngineConfig(str(tied), model_config=options))
    assert planned.weights_bytes == (num_weights + num_copied) * 4


def test_no_value_of_a_tensor_is_read(
    model: Path, adapters: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    name, directory = adapters[0]
    tensors = load_file(Path(directory) / "adapter_model.safetensors")
    save_file(
        {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()},
        tmp_path / "adapter_model.safetensors",
    )
    text = (Path(directory) / "adapter_config.json").read_text()
    (tmp_path / "adapter_config.json").write_text(text)
    pool = PoolConfig(pool_bytes=2 * 1024**2)
    planned = plan(EngineConfig(str(model), ((name, str(tmp_path)),), pool=pool))
    [same] = plan(EngineConfig(str(model), ((name, directory),), pool=pool)).adapters
    assert planned.adapters == (replace(same, path=str(tmp_path)),)


def test_an_adapter_that_a_start_would_refuse_is_refused(
    model: Path, adapters: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    content = json.loads((Path(adapters[0][1]) / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(content | {"lora_bias": True}))
    with pytest.raises(AdapterError, match="lora_bias"):
        plan(EngineConfig(str(model), (("a", str(tmp_path)),)))


def test_room_is_counted_in_whole_pages(blueprint: Blueprint) -> None:
    found = estimate(blueprint, weights=0, free=10**9, adapters=())
    page_bytes = blueprint.layout.page_bytes
    assert found.num_pages == 1024**2 // page_bytes
    assert found.pool_bytes == found.num_pages * page_bytes
    assert found.num_tokens == found.num_pages * 16
    [longest] = found.sequences  # its context is shorter than 1000
    assert (longest.num_tokens, longest.num_sequences) == (512, found.num_pages // 32)
    for rank in found.ranks:
        assert rank.num_adapters == found.num_pages // rank.adapter_pages


def test_sequences_at_once_are_limited_by_the_rows_of_a_step(model: Path) -> None:
    pool, batch = PoolConfig(pool_bytes=2**30), BatchConfig(max_batch_rows=3)
    blueprint = blueprint_of(EngineConfig(str(model), pool=pool, batch=batch))
    found = estimate(blueprint, weights=0, free=2**31, adapters=())
    assert [length.num_sequences for length in found.sequences] == [3]


def test_without_a_size_the_pool_is_a_share_of_what_the_weights_leave(model: Path) -> None:
    blueprint = blueprint_of(EngineConfig(str(model), model_config=ModelConfig(device="cpu")))
    found = estimate(blueprint, weights=2**20, free=9 * 2**20, adapters=())
    assert found.pool_bytes == 2 * 2**20
    assert found.host_bytes == 6 * 2**20 // 4


@pytest.mark.parametrize(
    ("weights", "free", "expected"),
    [
        (10**6, 10**6 - 1, "the weights take 1000000 bytes as float32, only 999999 are free"),
        (10**6, 10**6 + 99, "--pool-bytes is 1048576: .* only 99 bytes are free"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(
    weights: int, free: int, expected: str, blueprint: Blueprint
) -> None:
    with pytest.raises(ConfigError, match=expected):
        estimate(blueprint, weights, free, adapters=())


def test_the_pool_must_hold_one_sequence_beside_the_largest_adapter(blueprint: Blueprint) -> None:
    pages = 1024**2 // blueprint.layout.page_bytes
    adapters = (an_adapter(num_pages=pages - 31), an_adapter(num_pages=1))
    with pytest.raises(ConfigError, match="too small for one sequence"):
        estimate(blueprint, 0, 10**9, adapters)
    assert estimate(blueprint, 0, 10**9, adapters[1:]).adapters == adapters[1:]


def test_the_memory_is_asked_for_the_device(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "free_bytes", {torch.device("cpu"): 12345678}.__getitem__)
    config = EngineConfig(str(model), model_config=ModelConfig(device="cpu"))
    assert plan(config).free_bytes == 12345678
