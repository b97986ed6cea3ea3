"""Configs that are refused by name before weights are read."""

from pathlib import Path
from typing import Any

import pytest

from tests.model_factory import MAKERS, make_llama
from tests.models.spec_directory import assert_refused, edit

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


def test_refusal_is_the_only_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fields, message = REFUSED_CONFIGS["rope type nobody knows"]
    edit(make_llama(tmp_path) / "config.json", **fields)
    capfd.readouterr()
    assert_refused(tmp_path, message)
    assert capfd.readouterr() == ("", "")
