"""Copies of base tensors in an adapter: skipped where they change nothing, else refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.memory.device.peft import read_adapter, read_adapter_header
from motet.memory.device.weights import AdapterWeights
from tests.adapter_factory import SomeTensors
from tests.memory.peft_directories import GEOMETRY, a_directory, some_tensors

EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
BIAS = "model.layers.0.self_attn.k_proj.bias"

DICE = torch.Generator().manual_seed(0)
BASE = {
    EMBEDDING: torch.randn(5000, 8, generator=DICE),  # more rows than are compared at once
    HEAD: torch.randn(5000, 8, generator=DICE),
    NORM: torch.randn(8, generator=DICE),
    BIAS: torch.randn(4, generator=DICE),
}

SPELLINGS = {
    "base_model.model.model.embed_tokens.weight": EMBEDDING,
    "base_model.model.model.embed_tokens.base_layer.weight": EMBEDDING,
    "base_model.model.model.embed_tokens.original_module.weight": EMBEDDING,
    "base_model.model.language_model.model.embed_tokens.weight": EMBEDDING,
    "_orig_mod.base_model.model.model.embed_tokens.weight": EMBEDDING,
    "base_model.model.lm_head.weight": HEAD,
    "base_model.model.lm_head.base_layer.weight": HEAD,
    "base_model.model.lm_head.modules_to_save.weight": HEAD,
    "base_model.model.lm_head.modules_to_save.default.weight": HEAD,
    "module.lm_head.weight": HEAD,
    "base_model.model.model.norm.weight": NORM,
    "base_model.model.model.layers.0.self_attn.k_proj.bias": BIAS,
    "base_model.model.model.layers.0.self_attn.k_proj.base_layer.bias": BIAS,
}


def read(
    path: Path, copies: dict[str, Tensor], base: dict[str, Tensor] = BASE, **fields: Any
) -> AdapterWeights:
    directory = a_directory(path, some_tensors() | copies, **fields)
    return read_adapter(str(directory), GEOMETRY, 256, SomeTensors(base))


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_copy_of_the_base_is_skipped_however_it_is_spelt(name: str, tmp_path: Path) -> None:
    plain = read(tmp_path / "plain", {})
    weights = read(tmp_path / "copy", {name: BASE[SPELLINGS[name]].clone()})
    assert (plain.skipped, weights.skipped) == ((), (name,))
    assert weights.digest("base", torch.float32) == plain.digest("base", torch.float32)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_trained_copy_is_refused(name: str, tmp_path: Path) -> None:
    copy = BASE[SPELLINGS[name]].clone()
    copy.view(-1)[-1] += 1e-3
    message = f"tensor '{name}' replaces the model's '{SPELLINGS[name]}', .*merge_and_unload"
    with pytest.raises(AdapterError, match=message):
        read(tmp_path, {name: copy})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_copy_in_a_narrower_format_is_compared_in_that_format(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    copy = BASE[HEAD].to(dtype)
    assert read(tmp_path, {"lm_head.weight": copy}).skipped == ("lm_head.weight",)


def test_a_copy_in_a_wider_format_must_be_exact(tmp_path: Path) -> None:
    base = {HEAD: BASE[HEAD].to(torch.bfloat16)}
    wide = base[HEAD].float()
    assert read(tmp_path, {"lm_head.weight": wide}, base).skipped == ("lm_head.weight",)
    with pytest.raises(AdapterError, match="whose values differ"):
        read(tmp_path, {"lm_head.weight": wide * (1 + 2**-20)}, base)


def test_a_copy_of_other_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="whose values differ"):
        read(tmp_path, {"lm_head.weight": BASE[HEAD].to(torch.int8)})


@pytest.mark.parametrize(
    ("name", "kind"), [("model.embed_tokens", "embedding"), ("lm_head", "head")]
)
def test_a_resized_vocabulary_asks_for_the_resized_model(
    name: str, kind: str, tmp_path: Path
) -> None:
    message = rf"replaces the {kind} \(5002 rows, the model has 5000\): serve the resized model"
    with pytest.raises(AdapterError, match=message):
        read(tmp_path, {f"base_model.model.{name}.weight": torch.ones(5002, 8)})


def test_a_copy_of_another_width_is_of_another_model(tmp_path: Path) -> None:
    message = r"lm_head.weight' has shape \[5000, 16\], .* has \[5000, 8\]: serve the model the ad"
    with pytest.raises(AdapterError, match=message):
        read(tmp_path, {"lm_head.weight": torch.ones(5000, 16)})


def test_a_layer_that_was_to_be_saved_must_be_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"modules_to_save .* names 'lm_head', .*save the adapt"):
        read(tmp_path, {}, modules_to_save=["lm_head"])
    copy = {"base_model.model.lm_head.weight": BASE[HEAD].clone()}
    assert read(tmp_path, copy, modules_to_save=["lm_head", "score"]).skipped


@pytest.mark.parametrize("name", ["lora_velora_embed", "lora_monteclora_sampler.std_prior"])
def test_what_only_training_reads_is_skipped(name: str, tmp_path: Path) -> None:
    name = f"base_model.model.model.layers.0.self_attn.q_proj.{name}"
    assert read(tmp_path, {name: torch.ones(8)}).skipped == (name,)


def test_a_header_is_checked_by_the_shapes_of_its_copies(tmp_path: Path) -> None:
    copies = {"lm_head.weight": torch.zeros(5000, 8), "model.norm.weight": BASE[NORM].clone()}
    directory = str(a_directory(tmp_path, some_tensors() | copies))
    header = read_adapter_header(directory, GEOMETRY, 256, SomeTensors(BASE))
    assert header.skipped == tuple(copies)
    with pytest.raises(AdapterError, match="serve the resized model"):
        read_adapter_header(directory, GEOMETRY, 256, SomeTensors({HEAD: torch.ones(4999, 8)}))
