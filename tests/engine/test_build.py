"""From directories to tokens: a real engine on a tiny model, and every way it refuses to start."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.request import Request, SamplingParams
from motet.engine.start import build as building
from motet.engine.start.blueprint import blueprint_of
from motet.engine.start.build import build
from motet.engine.start.identity import identify
from motet.engine.start.step_bytes import batch_at_the_limits
from motet.errors import ConfigError
from tests.adapter_factory import ADAPTER_KINDS, load_with_peft, save_adapter
from tests.engine.drive import turns
from tests.model_factory import make_llama

KINDS = ("patterns", "all-linear", "rank-64", "query-value")
MAX_MODEL_LEN = 64


@dataclass(frozen=True, slots=True)
class Directories:
    model: Path
    adapters: dict[str, Path]

    def config(self, **changes: Any) -> EngineConfig:
        config = EngineConfig(
            model=str(self.model),
            adapters=tuple((name, str(path)) for name, path in self.adapters.items()),
            model_config=ModelConfig(device="cpu", max_model_len=MAX_MODEL_LEN),
            pool=PoolConfig(pool_bytes=4_000_000),
        )
        return replace(config, **changes)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Directories:
    root = tmp_path_factory.mktemp("models")
    model_path = make_llama(root / "base")
    model = LlamaForCausalLM.from_pretrained(model_path)
    adapters = {kind: save_adapter(model, root / kind, ADAPTER_KINDS[kind]) for kind in KINDS}
    return Directories(model_path, adapters)


def ignore_progress(what: str, done: int, total: int) -> None:
    pass


def generate(core: EngineCore, prompt: tuple[int, ...], num_tokens: int) -> dict[str, list[int]]:
    """Greedy tokens of the base model (as "") and every adapter, all at once."""
    sampling = SamplingParams(num_tokens, temperature=0)
    adapters = {"": None} | {adapter.name: adapter for adapter in core.info.adapters}
    requests = [Request(name, prompt, sampling, adapter) for name, adapter in adapters.items()]
    outputs = [output for report in turns(core, requests) for output in report.outputs]
    tokens: dict[str, list[int]] = {name: [] for name in adapters}
    for output in outputs:
        assert output.error is None and output.token_id is not None
        tokens[output.request_id].append(output.token_id)
    return tokens


def reference(directories: Directories, name: str, prompt: tuple[int, ...], n: int) -> list[int]:
    model: Any = LlamaForCausalLM.from_pretrained(directories.model)
    if name:
        model = load_with_peft(model, directories.adapters[name])
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(n):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def smallest_pool(config: EngineConfig) -> int:
    """What the engine itself says is the smallest pool that works."""
    tiny = replace(config, pool=replace(config.pool, pool_bytes=1))
    with pytest.raises(ConfigError, match="--pool-bytes") as caught:
        build(tiny, ignore_progress)
    _, _, rest = str(caught.value).partition("--pool-bytes ")
    return int(rest.split()[0])


@pytest.mark.parametrize("is_tight", [False, True])
def test_engine_gives_the_tokens_of_transformers_and_peft(
    directories: Directories, is_tight: bool
) -> None:
    config = directories.config(batch=BatchConfig(max_batch_tokens=16))
    if is_tight:
        config = replace(config, pool=PoolConfig(pool_bytes=smallest_pool(config)))
    prompt = tuple(range(3, 40))

    core = build(config, ignore_progress, poison_released=True)
    tokens = generate(core, prompt, num_tokens=12)

    assert tokens == {name: reference(directories, name, prompt, 12) for name in tokens}
    assert len({tuple(some) for some in tokens.values()}) == len(KINDS) + 1
    assert (core.scheduler.stats().adapter_page_evictions > 0) == is_tight


def test_one_page_less_than_the_smallest_pool_is_refused(directories: Directories) -> None:
    config = directories.config()
    least = smallest_pool(config)
    assert build(replace(config, pool=PoolConfig(pool_bytes=least)), ignore_progress)
    with pytest.raises(ConfigError, match=f"{MAX_MODEL_LEN} tokens .*--pool-bytes {least} "):
        build(replace(config, pool=PoolConfig(pool_bytes=least - 1)), ignore_progress)


def test_engine_info_tells_what_was_built(directories: Directories) -> None:
    core = build(directories.config(), ignore_progress)
    assert core.info.num_pages * core.info.page_bytes <= 4_000_000
    assert [adapter.name for adapter in core.info.adapters] == list(KINDS)
    assert core.info.dtype == "float32"
    assert core.info.max_model_len == MAX_MODEL_LEN


def test_an_engine_computes_with_the_threads_it_is_given_and_keeps_freed_memory(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr(building, "set_threads", done.append)
    monkeypatch.setattr(building, "keep_freed_memory", lambda: done.append("kept"))
    build(directories.config(model_config=ModelConfig(device="cpu", threads=3)), ignore_progress)
    assert done == [3, "kept"]


def test_the_step_that_measures_memory_samples_and_scores_all_it_may(
    directories: Directories,
) -> None:
    limits = BatchConfig(max_batch_tokens=50, max_batch_rows=7)
    config = directories.config(batch=limits)
    result = build(config, ignore_progress).executor.execute(
        batch_at_the_limits(blueprint_of(config))
    )
    assert [token.token_id is not None for token in result.tokens] == [True] * 7
    assert [len(scores.logprobs or ()) for scores in result.scores] == [50 // 7] * 7


def test_progress_counts_adapters_and_weights_to_their_end(directories: Directories) -> None:
    seen: dict[str, tuple[int, int]] = {}
    build(directories.config(), lambda what, done, total: seen.update({what: (done, total)}))
    assert seen["adapters"] == (len(KINDS), len(KINDS))
    assert seen["weights"][0] == seen["weights"][1] > 0


def test_pages_grow_until_the_largest_tile_fits(tmp_path: Path) -> None:
    model = make_llama(tmp_path, num_key_value_heads=1, intermediate_size=512)
    # A tile of 8 * 512 elements; one token is 2 layers * 2 * 16 elements.
    assert blueprint_of(EngineConfig(str(model))).layout.page_tokens == 64
    with pytest.raises(ConfigError, match=r"--page-tokens is 63.* at least 64"):
        blueprint_of(EngineConfig(str(model), pool=PoolConfig(page_tokens=63)))


def test_dtype_auto_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    model = make_llama(tmp_path, dtype=torch.bfloat16)
    assert blueprint_of(EngineConfig(str(model))).dtype is torch.bfloat16


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "device": ({"model_config": ModelConfig(device="tpu")}, "--device is 'tpu'"),
    "dtype": ({"model_config": ModelConfig(dtype="int8")}, "--dtype is 'int8'"),
    "small page": ({"pool": PoolConfig(page_tokens=1)}, "--page-tokens is 1: .* at least"),
    "same name": ({"adapters": (("a", "x"), ("a", "y"))}, "'a' is given twice"),
    "empty name": ({"adapters": (("", "x"),)}, "name of an adapter is '': give 1 to 512 print"),
    "long name": ({"adapters": (("n" * 513, "x"),)}, "name of an adapter is 'nnn.*512 printable"),
    "two-line name": ({"adapters": (("a\nb", "x"),)}, r"is 'a\\nb': give"),
    "turning name": ({"adapters": (("a\u202eb", "x"),)}, r"is 'a\\u202eb': give"),
    "no text as name": ({"adapters": (("\udcff", "x"),)}, r"is '\\udcff': give"),
    "no model": ({"model": ""}, "the model is '': give a Hugging Face model directory"),
    "model": ({"model": "no/such/model"}, "'no/such/model' does not exist"),
    "adapter": ({"adapters": (("a", "no/such"),)}, "'no/such' does not exist"),
    "huge pool": ({"pool": PoolConfig(pool_bytes=2**60)}, f"--pool-bytes is {2**60}: .* are free"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused(case: str, directories: Directories) -> None:
    changes, message = BAD_OPTIONS[case]
    with pytest.raises(ConfigError, match=message):
        build(directories.config(**changes), ignore_progress)


def test_more_context_than_the_model_was_made_for_is_a_warning(
    directories: Directories, caplog: pytest.LogCaptureFixture
) -> None:
    options = ModelConfig(device="cpu", max_model_len=513)
    core = build(directories.config(model_config=options), ignore_progress)
    assert core.info.max_model_len == 513
    [line] = [line for line in caplog.messages if "--max-model-len" in line]
    assert "is 513: the model was made for 512 tokens" in line


def test_more_context_than_a_dynamic_rotary_embedding_is_the_same_for_is_refused(
    tmp_path: Path,
) -> None:
    dynamic = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    model = str(make_llama(tmp_path, rope_parameters=dynamic))
    blueprint_of(EngineConfig(model, model_config=ModelConfig(max_model_len=512)))
    with pytest.raises(ConfigError, match=r"--max-model-len is 513: .* beyond 512 .* at most that"):
        blueprint_of(EngineConfig(model, model_config=ModelConfig(max_model_len=513)))


def test_weights_of_another_model_are_not_taken_for_a_small_pool(tmp_path: Path) -> None:
    model = make_llama(tmp_path)
    edit_config(model, num_hidden_layers=10**7)
    with pytest.raises(ConfigError, match=r"no tensor 'model.layers.2.*different models"):
        build(EngineConfig(str(model), pool=PoolConfig(pool_bytes=4_000_000)), ignore_progress)


def test_cuda_without_a_gpu_is_refused(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device is 'cuda'"):
        blueprint_of(directories.config(model_config=ModelConfig(device="cuda")))


def test_the_identity_of_a_model_covers_its_configuration_and_shapes(tmp_path: Path) -> None:
    one = identify(str(make_llama(tmp_path / "one")))
    assert identify(str(make_llama(tmp_path / "same"))) == one
    assert identify(str(make_llama(tmp_path / "wider", intermediate_size=64))) != one
    edit_config(tmp_path / "same", rms_norm_eps=1e-3)
    assert identify(str(tmp_path / "same")) != one


def edit_config(model: Path, **fields: Any) -> None:
    config = model / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
