"""What a model directory says about itself, and what is refused before weights are read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from motet.engine.models import read_config
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
    shapes = {m.name: (m.in_features, m.out_features) for m in spec.geometry.modules}
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


@pytest.mark.parametrize("window", [512, 10**20])
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


def test_checkpoint_without_dtype_counts_as_float32(tmp_path: Path) -> None:
    make_llama(tmp_path)
    edit(tmp_path / "config.json", dtype=None)
    assert read_config(str(tmp_path)).dtype == "float32"


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

REFUSED_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "other architecture": (
        {"architectures": ["GPT2LMHeadModel"]},
        r"architectures is \['GPT2LMHeadModel'\].*LlamaForCausalLM",
    ),
    "no architecture": ({"architectures": None}, "architectures is None.*LlamaForCausalLM"),
    "architecture that is no name": ({"architectures": [{}]}, r"architectures is \[\{\}\]"),
    "other model under a served name": (
        {"model_type": "gpt2"},
        "model_type 'gpt2' is not that of Llama",
    ),
    "unknown model type": ({"model_type": "nonesuch"}, "model_type 'nonesuch' is not that of"),
    "no model type": ({"model_type": None}, "model_type 'None' is not that of"),
    "quantised": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "quantization_config.*gptq.*unquantised",
    ),
    "compressed": ({"compression_config": {"format": "x"}}, "compression_config.*uncompressed"),
    "remote code": (
        {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}},
        "auto_map.*modeling_evil.*never run",
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
    "sums in another order": ({"pretraining_tp": 2}, "pretraining_tp is 2: .*with 1"),
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
