"""What a model directory says about itself, and what is refused before weights are read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from motet.engine.models import read_config
from motet.engine.models.checkpoint import WEIGHTS_FILE
from motet.engine.models.traits import Traits
from motet.errors import ModelError
from tests.model_factory import MAKERS, WINDOW, make_llama, make_tokenizer

OLD_ROPE: dict[str, Any] = {"rope_theta": 5000.0, "rope_parameters": None}


def edit(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file; None removes."""
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_spec_holds_what_config_says(tmp_path: Path) -> None:
    spec = read_config(str(make_llama(tmp_path, head_dim=24, dtype=torch.bfloat16)))
    assert spec.architecture == "LlamaForCausalLM"
    assert (spec.dtype, spec.vocab_size, spec.max_positions) == ("bfloat16", 320, 512)
    assert (spec.num_layers, spec.num_heads, spec.num_kv_heads) == (2, 4, 2)
    shapes = {m.name: (m.in_features, m.out_features) for m in spec.layer_modules}
    assert shapes == {
        "q_proj": (64, 96),
        "k_proj": (64, 48),
        "v_proj": (64, 48),
        "o_proj": (96, 64),
        "gate_proj": (64, 128),
        "up_proj": (64, 128),
        "down_proj": (128, 64),
    }


TYPICAL_TRAITS = {
    "LlamaForCausalLM": Traits(windows=(None, None)),
    "MistralForCausalLM": Traits(windows=(WINDOW, WINDOW)),
    "Qwen2ForCausalLM": Traits(windows=(None, WINDOW), has_qkv_bias=True),
    "Qwen3ForCausalLM": Traits(windows=(None, WINDOW), has_qk_norm=True),
}


@pytest.mark.parametrize("architecture", MAKERS)
def test_spec_holds_the_traits_of_the_family(tmp_path: Path, architecture: str) -> None:
    spec = read_config(str(MAKERS[architecture](tmp_path)))
    assert spec.traits == TYPICAL_TRAITS[architecture]


@pytest.mark.parametrize("window", [2**31, 10**20])
def test_a_window_that_hides_nothing_is_none(tmp_path: Path, window: int) -> None:
    edit(MAKERS["MistralForCausalLM"](tmp_path) / "config.json", sliding_window=window)
    assert read_config(str(tmp_path)).traits.windows == (None, None)


def test_layer_types_that_say_nothing_new_are_served(tmp_path: Path) -> None:
    path = MAKERS["MistralForCausalLM"](tmp_path)
    edit(path / "config.json", layer_types=["sliding_attention"] * 2)
    assert read_config(str(path)).traits == TYPICAL_TRAITS["MistralForCausalLM"]


def test_a_spec_is_a_value(tmp_path: Path) -> None:
    path = str(make_llama(tmp_path))
    assert read_config(path) == read_config(path)
    assert hash(read_config(path)) == hash(read_config(path))


def test_eos_ids_come_from_both_files_and_the_tokenizer(tmp_path: Path) -> None:
    make_llama(tmp_path)
    edit(tmp_path / "config.json", eos_token_id=7)
    edit(tmp_path / "generation_config.json", eos_token_id=[9, 3, 7])
    assert read_config(str(tmp_path)).eos_token_ids == (3, 7, 9)
    make_tokenizer(tmp_path)
    assert read_config(str(tmp_path)).eos_token_ids == (2, 3, 7, 9)


def test_ids_that_the_tokenizer_lacks_are_padding_and_no_end(tmp_path: Path) -> None:
    make_llama(tmp_path, vocab_size=384, eos_token_id=[2, 350])
    spec = read_config(str(tmp_path))
    assert (spec.num_token_ids, spec.eos_token_ids) == (384, (2, 350))
    make_tokenizer(tmp_path)
    spec = read_config(str(tmp_path))
    assert (spec.vocab_size, spec.num_token_ids, spec.eos_token_ids) == (384, 320, (2,))


def test_an_end_that_no_file_names_is_none_where_others_are_named(tmp_path: Path) -> None:
    edit(make_llama(tmp_path) / "config.json", eos_token_id=None)
    edit(tmp_path / "generation_config.json", eos_token_id=[1, 5])
    assert read_config(str(tmp_path)).eos_token_ids == (1, 5)


def test_where_no_file_names_an_end_it_is_that_of_the_family(tmp_path: Path) -> None:
    edit(make_llama(tmp_path) / "config.json", eos_token_id=None)
    edit(tmp_path / "generation_config.json", eos_token_id=None)
    assert read_config(str(tmp_path)).eos_token_ids == (2,)


def test_a_vocabulary_larger_than_the_model_is_of_another_model(tmp_path: Path) -> None:
    make_tokenizer(make_llama(tmp_path, vocab_size=300))
    assert_refused(tmp_path, r"of another model: its token 319 is '.*', and vocab_size is 300; ")


def test_tokens_that_the_model_lacks_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_tokenizer(make_llama(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_special_tokens({"eos_token": "<added>"})
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer.eos_token_id == 320
    spec = read_config(str(tmp_path))
    assert (spec.num_token_ids, spec.eos_token_ids) == (320, (2,))
    assert "no rows for ['<added>'], which tokenizer files add" in caplog.text


def test_generation_config_may_be_absent(tmp_path: Path) -> None:
    make_llama(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    assert read_config(str(tmp_path)).eos_token_ids == (2,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shard_size", ["1GB", "100KB"], ids=["one file", "shards"])
def test_without_a_dtype_it_is_that_of_the_weights(
    tmp_path: Path, dtype: torch.dtype, shard_size: str
) -> None:
    make_llama(tmp_path, dtype=dtype, max_shard_size=shard_size)
    edit(tmp_path / "config.json", dtype=None)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert f"torch.{read_config(str(tmp_path)).dtype}" == str(reference.dtype) == str(dtype)


def test_without_a_dtype_most_elements_decide_and_not_the_first_tensor(tmp_path: Path) -> None:
    weights = make_llama(tmp_path, dtype=torch.bfloat16) / WEIGHTS_FILE
    edit(tmp_path / "config.json", dtype=None)
    tensors = load_file(weights)
    wide = {name: t.float() if t.dim() == 1 else t for name, t in tensors.items()}
    save_file({"a.counter": torch.ones(10**6, dtype=torch.int64)} | wide, weights)
    assert read_config(str(tmp_path)).dtype == "bfloat16"


def test_old_name_of_the_dtype_counts_where_the_new_one_is_missing(tmp_path: Path) -> None:
    make_llama(tmp_path)
    edit(tmp_path / "config.json", dtype=None, torch_dtype="float16")
    assert read_config(str(tmp_path)).dtype == "float16"
    edit(tmp_path / "config.json", dtype="bfloat16")
    assert read_config(str(tmp_path)).dtype == "bfloat16"


def test_weights_are_missed_where_only_they_say_the_dtype(tmp_path: Path) -> None:
    (make_llama(tmp_path) / WEIGHTS_FILE).unlink()
    edit(tmp_path / "config.json", dtype=None)
    assert_refused(tmp_path, "model.safetensors is missing: download the weights too")


HARMLESS: dict[str, dict[str, Any]] = {
    "sums in another order": {"pretraining_tp": 2},
    "code of the tokenizer": {"auto_map": {"AutoTokenizer": ["x.X", None]}},
    "empty map of code": {"auto_map": {}},
    "no architectures": {"architectures": None},
    "empty architectures": {"architectures": []},
    "one architecture of two": {"architectures": ["Other", "LlamaForCausalLM"]},
    "no scaling": {"rope_scaling": None},
    "empty scaling": {"rope_scaling": {}},
    "same base twice": {"rope_theta": 10000},
    "same in both spellings": {
        "rope_scaling": {"type": "default", "rope_type": "default"},
        "rope_theta": 10000.0,
    },
    "base of its own": {"rope_parameters": {"rope_type": "default"}, "rope_theta": 10000.0},
}


@pytest.mark.parametrize("case", HARMLESS)
def test_field_that_changes_nothing_is_served(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read_config(str(make_llama(tmp_path)))
    content = json.loads((tmp_path / "config.json").read_text()) | HARMLESS[case]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_config(str(tmp_path)) == expected
    assert not caplog.records


def test_code_of_a_model_that_is_known_is_not_run_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read_config(str(make_llama(tmp_path)))
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    edit(tmp_path / "config.json", auto_map=auto_map)
    (tmp_path / "evil.py").write_text("raise SystemExit")
    assert read_config(str(tmp_path)) == expected
    [line] = caplog.messages
    assert "'evil.Model'" in line and "never run" in line and "LlamaForCausalLM" in line


@pytest.mark.parametrize("architecture", MAKERS)
def test_architecture_is_that_of_the_model_type_where_none_is_named(
    tmp_path: Path, architecture: str
) -> None:
    edit(MAKERS[architecture](tmp_path) / "config.json", architectures=None)
    assert read_config(str(tmp_path)).architecture == architecture


CONTEXTS: dict[str, tuple[dict[str, Any], int]] = {
    "default": ({}, 512),
    "linear": ({"rope_type": "linear", "factor": 4.0}, 2048),
    "linear by a fraction": ({"rope_type": "linear", "factor": 1.5}, 768),
    "yarn": ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}, 1024),
    "yarn that names no original length": ({"rope_type": "yarn", "factor": 4.0}, 2048),
    "yarn by the ratio of the lengths": (
        {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 128},
        512,
    ),
    "llama3, already extended": (
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        512,
    ),
    "dynamic, as it was trained": ({"rope_type": "dynamic", "factor": 4.0}, 512),
}


@pytest.mark.parametrize("case", CONTEXTS)
@pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
def test_context_is_as_long_as_the_rotary_embedding_makes_it(
    tmp_path: Path, case: str, is_old: bool
) -> None:
    fields, expected = CONTEXTS[case]
    rope = fields | {"rope_theta": 1e6}
    config = make_llama(tmp_path) / "config.json"
    if is_old:
        edit(config, rope_parameters=None, rope_scaling=fields or None, rope_theta=1e6)
    else:
        edit(config, rope_parameters=rope)
    assert read_config(str(tmp_path)).max_positions == expected


def test_context_of_qwen3_with_the_yarn_of_its_card(tmp_path: Path) -> None:
    config = MAKERS["Qwen3ForCausalLM"](tmp_path) / "config.json"
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    edit(
        config,
        rope_parameters=None,
        max_position_embeddings=40960,
        rope_theta=1e6,
        rope_scaling=yarn,
    )
    assert read_config(str(tmp_path)).max_positions == 131072


def test_adapter_given_as_the_model_names_its_base(tmp_path: Path) -> None:
    fields = {"peft_type": "LORA", "base_model_name_or_path": "org/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    assert_refused(tmp_path, f"is an adapter, not a model: .* org/base --adapter .*={tmp_path}")
    (tmp_path / "adapter_config.json").write_text("{}")
    assert_refused(tmp_path, "is an adapter, not a model: .* BASE_MODEL --adapter")


@pytest.mark.parametrize("inner", ["checkpoint-500", "snapshots/0123"])
def test_directory_around_a_model_names_it(tmp_path: Path, inner: str) -> None:
    make_llama(tmp_path / inner)
    assert_refused(tmp_path, f"config.json is missing: did you mean '{tmp_path / inner}'")


def test_directory_around_adapters_names_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "checkpoint-500" / "adapter_config.json").write_text("{}")
    assert_refused(tmp_path, "checkpoint-500' is an adapter, not a model: .* --adapter checkpoint")


def test_adapter_beside_a_whole_model_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (make_llama(tmp_path) / "adapter_config.json").write_text("{}")
    read_config(str(tmp_path))
    [line] = caplog.messages
    assert f"add --adapter NAME={tmp_path}" in line


@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_old_rope_keys_mean_the_same_as_new_ones(tmp_path: Path, key: str) -> None:
    linear = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}
    new = read_config(str(make_llama(tmp_path / "new", rope_parameters=linear)))
    make_llama(tmp_path / "old")
    scaling = {key: "linear", "factor": 4.0}
    edit(tmp_path / "old" / "config.json", rope_scaling=scaling, **OLD_ROPE)
    assert read_config(str(tmp_path / "old")).rope == new.rope


def test_dynamic_rope_is_the_default_one_within_the_trained_length(tmp_path: Path) -> None:
    dynamic = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    path = make_llama(tmp_path / "dynamic", rope_parameters=dynamic)
    plain = read_config(str(make_llama(tmp_path / "plain")))
    spec = read_config(str(path))
    assert spec.rope.inverse_frequencies == plain.rope.inverse_frequencies


LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0] * 8,
    "short_factor": [1.0] * 8,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}

THETA = {"rope_theta": 1e6}
OLD_YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
YARN: dict[str, Any] = OLD_YARN | THETA

REFUSED_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "other architecture": (
        {"architectures": ["GPT2LMHeadModel"]},
        r"architectures is \['GPT2LMHeadModel'\].*LlamaForCausalLM",
    ),
    "architecture around a served one": (
        {"architectures": ["FSDPLlamaForCausalLM"]},
        r"architectures is \['FSDPLlama.*set it to \[\"LlamaForCausalLM\"\]",
    ),
    "architecture that is no list": (
        {"architectures": "LlamaForCausalLM"},
        r"architectures is 'LlamaForCausalLM'.*set it to \[\"LlamaForCausalLM\"\]",
    ),
    "neither architecture nor model type": (
        {"architectures": None, "model_type": None},
        r"neither architectures nor model_type: add both.*\[\"LlamaForCausalLM\"\].*llama",
    ),
    "no architecture of a model type that is not served": (
        {"architectures": None, "model_type": "gpt2"},
        "architectures is None and model_type 'gpt2': choose a model with one of Llama",
    ),
    "architecture that is no name": ({"architectures": [{}]}, r"architectures is \[\{\}\]"),
    "other model under a served name": (
        {"model_type": "gpt2"},
        "model_type 'gpt2' is not that of Llama",
    ),
    "unknown model type": ({"model_type": "nonesuch"}, "model_type 'nonesuch' is not that of"),
    "no model type": ({"model_type": None}, "model_type None is not that of.*'llama'"),
    "quantised": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "quantization_config.*gptq.*unquantised",
    ),
    "compressed": ({"compression_config": {"format": "x"}}, "compression_config.*uncompressed"),
    "architecture of remote code": (
        {
            "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"},
            "architectures": ["EvilForCausalLM"],
        },
        "auto_map.*modeling_evil.*never run.*EvilForCausalLM",
    ),
    "rope type that is not served": ({"rope_parameters": LONGROPE}, "rope_type 'longrope'.*llama3"),
    "rope type nobody knows": (
        {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}},
        "rope_type 'spiral' is not served.*llama3",
    ),
    "rope without its numbers": (
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        "config.json is not valid.*factor",
    ),
    "rope over part of a head": (
        {
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 2.0,
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            }
        },
        "8 of 16 dimensions.*partial_rotary_factor",
    ),
    "other activation": ({"hidden_act": "gelu"}, "hidden_act 'gelu'.*silu"),
    "other dtype": ({"dtype": "float64"}, "dtype 'float64'.*bfloat16"),
    "text for a number": ({"hidden_size": "large"}, "config.json is not valid.*hidden_size"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers is 0.*at least 1"),
    "negative size": ({"vocab_size": -5}, "vocab_size is -5.*at least 1"),
    "heads that cannot be grouped": (
        {"num_key_value_heads": 3},
        "num_attention_heads 4 is no multiple of num_key_value_heads 3",
    ),
    "end that is no id": ({"eos_token_id": "</s>"}, "eos_token_id"),
    "end beyond the vocabulary": (
        {"eos_token_id": [2, 320]},
        r"eos_token_id is \[2, 320\]: .*vocabulary \(0 to 319\)",
    ),
    "negative end": ({"eos_token_id": -1}, "eos_token_id is -1: .*vocabulary"),
    "rope that does not turn": (
        {"rope_parameters": {"rope_type": "default", "rope_theta": 0}},
        "rope_theta': 0.* frequency or factor of (inf|nan)",
    ),
    "rope by nothing": (
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 0}},
        "factor': 0.* frequency or factor of inf",
    ),
    "epsilon below zero": ({"rms_norm_eps": -5.0}, "rms_norm_eps is -5.0"),
    "dtype that is left open": ({"dtype": "auto"}, "dtype 'auto' is not served: save .*bfloat16"),
    "dtype in other words": ({"dtype": None, "torch_dtype": "bf16"}, "dtype 'bf16' is not served"),
    "context extended to nothing": (
        {"rope_parameters": YARN | {"factor": 1e-3}},
        "the extended context is 0: it must be at least 1",
    ),
    "two spellings of another type": (
        {"rope_parameters": THETA, "rope_scaling": OLD_YARN, "rope_theta": 1e6},
        "rope_type 'default' in rope_parameters, but 'yarn' with rope_scaling: keep the right",
    ),
    "two spellings of another factor": (
        {"rope_parameters": YARN, "rope_scaling": OLD_YARN | {"factor": 8.0}, "rope_theta": 1e6},
        "factor 4.0 in rope_parameters, but 8.0 with rope_scaling",
    ),
    "old spelling without the base of the new one": (
        {"rope_parameters": YARN, "rope_scaling": OLD_YARN},
        "rope_theta 1000000.0 in rope_parameters, but 10000.0 with rope_scaling",
    ),
    "two rotary bases": (
        {"rope_parameters": THETA, "rope_theta": 5e5},
        "rope_theta 500000.0, but 1000000.0 in rope_parameters: keep the right one",
    ),
    "two rotary bases in the old spelling": (
        {"rope_parameters": None, "rope_scaling": OLD_YARN | THETA, "rope_theta": 5e5},
        "rope_theta 500000.0, but 1000000.0 in rope_scaling",
    ),
    "two original lengths": (
        {"rope_parameters": YARN, "original_max_position_embeddings": 64},
        "original_max_position_embeddings 64, but 128 in rope_parameters",
    ),
    "two types": (
        {"rope_parameters": None, "rope_scaling": OLD_YARN | {"rope_type": "linear"}},
        "type 'yarn', but rope_type 'linear' in rope_scaling",
    ),
    "factor of no type": (
        {"rope_parameters": None, "rope_scaling": {"factor": 4.0}},
        "rope_scaling has factor 4.0 but no rope_type: add it",
    ),
    "rope of each layer type": (
        {"rope_parameters": {"full_attention": THETA, "sliding_attention": THETA}},
        "rope_parameters has values of its own for 'full_attention'.*choose a model with one",
    ),
    "rope that is a list": (
        {"rope_parameters": None, "rope_scaling": [4.0]},
        r"rope_scaling is \[4.0\]: write it as an object",
    ),
    "base that is no number": (
        {"rope_parameters": None, "rope_theta": "5e5"},
        "rope_theta is '5e5': set it to a number",
    ),
}


@pytest.mark.parametrize("case", REFUSED_CONFIGS)
def test_config_is_refused_by_name(tmp_path: Path, case: str) -> None:
    fields, message = REFUSED_CONFIGS[case]
    edit(make_llama(tmp_path) / "config.json", **fields)
    assert_refused(tmp_path, message)


REFUSED_FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "layers of another type": (
        "Qwen2ForCausalLM",
        {"layer_types": ["full_attention", "linear_attention"]},
        "layer_types has 'linear_attention': choose a model of full_attention and sliding_",
    ),
    "layers of a type nobody knows": (
        "Qwen3ForCausalLM",
        {"layer_types": ["full_attention", "spiral_attention"]},
        "config.json is not valid.*layer_types.*spiral_attention",
    ),
    "fewer layer types than layers": (
        "Qwen3ForCausalLM",
        {"layer_types": ["full_attention"]},
        "config.json is not valid.*num_hidden_layers.*layer_types",
    ),
    "sliding layers without a window": (
        "Qwen2ForCausalLM",
        {"layer_types": ["full_attention", "sliding_attention"], "use_sliding_window": False},
        "layer_types has 'sliding_attention', but there is no window: set .*use_sliding_window",
    ),
    "window of nothing": (
        "Qwen3ForCausalLM",
        {"sliding_window": 0},
        "sliding_window is 0: it must be at least 1",
    ),
    "negative window": ("MistralForCausalLM", {"sliding_window": -1}, "sliding_window is -1: "),
    "window that is text": (
        "MistralForCausalLM",
        {"sliding_window": "4k"},
        "config.json is not valid.*sliding_window",
    ),
    "layer types beside one window": (
        "MistralForCausalLM",
        {"layer_types": ["full_attention", "sliding_attention"]},
        r"layer_types is \['full_attention'.*sliding_attention when sliding_window is 11",
    ),
    "name of another family": (
        "Qwen2ForCausalLM",
        {"architectures": ["Qwen3ForCausalLM"]},
        "model_type 'qwen2' is not that of Qwen3ForCausalLM",
    ),
    "heads of no size": ("Qwen2ForCausalLM", {"hidden_size": 3}, "head_dim is 0.*at least 1"),
}


@pytest.mark.parametrize("case", REFUSED_FAMILIES)
def test_config_of_a_family_is_refused_by_name(tmp_path: Path, case: str) -> None:
    architecture, fields, message = REFUSED_FAMILIES[case]
    edit(MAKERS[architecture](tmp_path) / "config.json", **fields)
    assert_refused(tmp_path, message)


REFUSED_FILES = {
    "empty config": ("config.json", b"", "config.json is not valid JSON.*copy it again"),
    "corrupt config": ("config.json", b'{"a": ', "config.json is not valid JSON"),
    "binary config": ("config.json", b"\xff\x00\xfe", "config.json is not valid JSON"),
    "config that is a list": ("config.json", b"[]", r"config.json is \[\], not an object"),
    "deep config": ("config.json", b"[" * 100_000, "config.json is not valid JSON.*recursion"),
    "endless config": ("config.json", b" " * 17_000_000, "config.json is larger than"),
    "corrupt generation config": (
        "generation_config.json",
        b"{",
        "generation_config.json is not v",
    ),
    "end that is text": (
        "generation_config.json",
        b'{"eos_token_id": ["</s>"]}',
        r"eos_token_id is \['</s>'\]",
    ),
    "corrupt tokenizer": (
        "tokenizer.json",
        b"{",
        "the tokenizer cannot be loaded .*: download its files again, or remove tokenizer.json",
    ),
    "tokenizer without tokens": (
        "tokenizer.json",
        b'{"added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}',
        r"the tokenizer cannot be loaded \(it has no tokens\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    name, content, message = REFUSED_FILES[case]
    (make_llama(tmp_path) / name).write_bytes(content)
    assert_refused(tmp_path, message)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_pipe_or_device_is_not_read(tmp_path: Path, name: str) -> None:
    path = make_llama(tmp_path) / name
    path.unlink()
    path.symlink_to("/dev/zero")
    assert_refused(tmp_path, f"{name} is no regular file")
    path.unlink()
    os.mkfifo(path)
    assert_refused(tmp_path, f"{name} is no regular file")


def test_pipe_in_place_of_the_tokenizer_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(make_llama(tmp_path) / "tokenizer.json")
    assert_refused(tmp_path, r"the tokenizer cannot be loaded \(tokenizer.json is no regular file")


def test_refusal_is_the_only_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fields, message = REFUSED_CONFIGS["rope type nobody knows"]
    edit(make_llama(tmp_path) / "config.json", **fields)
    capfd.readouterr()
    assert_refused(tmp_path, message)
    assert capfd.readouterr() == ("", "")


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "nowhere' does not exist: give a Hugging Face model dir")


def test_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    assert_refused(make_llama(tmp_path) / "config.json", "is a file: give a Hugging Face model dir")


def test_directory_without_config_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "config.json is missing: give a Hugging Face model directory")


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_config(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
