"""What a model directory says about itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from motet.engine.models import read_config
from motet.engine.models.traits import Traits
from motet.file_names import MODEL_WEIGHTS
from tests.model_factory import MAKERS, WINDOW, make_llama, make_tokenizer
from tests.models.spec_directory import assert_refused, edit


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
    weights = make_llama(tmp_path, dtype=torch.bfloat16) / MODEL_WEIGHTS
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
    (make_llama(tmp_path) / MODEL_WEIGHTS).unlink()
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
