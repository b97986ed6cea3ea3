"""How long a context is, and what turns positions into rotations."""

from pathlib import Path
from typing import Any

import pytest

from motet.engine.models import read_config
from tests.model_factory import MAKERS, make_llama
from tests.models.spec_directory import edit

OLD_ROPE: dict[str, Any] = {"rope_theta": 5000.0, "rope_parameters": None}

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
