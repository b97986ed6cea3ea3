"""PEFT directories: served exactly, with what they say of their training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Embedding, Linear
from transformers import LlamaForCausalLM

from motet.memory.device.peft import read_adapter
from motet.memory.device.peft_fields import HARMLESS_INITS
from motet.memory.device.training import Training
from motet.memory.device.weights import AdapterWeights
from tests.adapter_factory import (
    ADAPTER_KINDS,
    SomeTensors,
    geometry_of,
    load_with_peft,
    save_adapter,
    tiny_llama,
)
from tests.memory.peft_directories import Tensors, a_directory, digest, read, some_tensors


def base_of(model: LlamaForCausalLM) -> SomeTensors:
    return SomeTensors(model.state_dict())


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_updates_equal_those_of_peft(kind: str, tmp_path: Path) -> None:
    model = tiny_llama()
    directory = save_adapter(model, tmp_path, ADAPTER_KINDS[kind])

    weights = read_adapter(str(directory), geometry_of(model.config), 256, base_of(model))

    expected = peft_updates(directory)
    assert updates(weights).keys() == expected.keys()
    for path, update in updates(weights).items():
        torch.testing.assert_close(update, expected[path], rtol=1e-5, atol=1e-6)


def updates(weights: AdapterWeights) -> Tensors:
    return {
        weights.geometry.modules[module].path: pair.scale * (pair.b.float() @ pair.a.float())
        for module, pair in weights.pairs.items()
    }


def peft_updates(directory: Path) -> Tensors:
    """What PEFT itself would add to each weight, by the path of its module."""
    found = {}
    for path, layer in load_with_peft(tiny_llama(), directory).named_modules():
        if isinstance(layer, Linear | Embedding):
            update = layer.get_delta_weight("default").detach()
            is_embedding = isinstance(layer, Embedding)  # whose weight has a row for each input
            found[path.removeprefix("base_model.model.")] = update.T if is_embedding else update
    return found


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.replace(".lora_", ".base_layer.lora_"),
        lambda name: name.replace("base_model.model.model.", "base_model.model.model.model."),
        lambda name: name.replace("base_model.model.", "base_model.model.language_model."),
        lambda name: name.removeprefix("base_model.model."),
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module.{name}",
        lambda name: f"module._orig_mod._fsdp_wrapped_module.{name}",
        lambda name: name.replace("model.model.", "model._orig_mod.model."),
        lambda name: name.replace(".self_attn", "._checkpoint_wrapped_module.self_attn"),
    ],
)
def test_other_spellings_of_tensor_names_mean_the_same(
    rename: Callable[[str], str], tmp_path: Path
) -> None:
    plain = a_directory(tmp_path / "plain")
    renamed = {rename(name): tensor for name, tensor in some_tensors().items()}
    assert digest(a_directory(tmp_path / "renamed", renamed)) == digest(plain)


def test_a_layer_without_tensors_is_not_targeted(tmp_path: Path) -> None:
    first_layer = {name: t for name, t in some_tensors().items() if "layers.0" in name}
    assert read(a_directory(tmp_path, first_layer)).ranks == (4, 0, 0, 0)


def test_scale_follows_the_pattern_that_matches_first(tmp_path: Path) -> None:
    fields = {"alpha_pattern": {"layers.1.self_attn.q_proj": 2, "q_proj": 6}, "use_rslora": True}
    assert read(a_directory(tmp_path, **fields)).scales == (6 / 2, 0, 2 / 2, 0)


def test_defaults_are_those_of_peft(tmp_path: Path) -> None:
    directory = a_directory(tmp_path, some_tensors(rank=8), r=None, lora_alpha=None)
    assert read(directory).scales == (1.0, 0, 1.0, 0)


@pytest.mark.parametrize("init", HARMLESS_INITS)
def test_an_initialisation_that_leaves_the_base_model_alone_is_served(
    init: object, tmp_path: Path
) -> None:
    plain = digest(a_directory(tmp_path / "plain"))
    assert digest(a_directory(tmp_path / "other", init_lora_weights=init)) == plain


@pytest.mark.parametrize("bias", ["none", "all", "lora_only", None])
def test_what_was_meant_to_be_trained_matters_only_where_it_is_in_the_file(
    bias: object, tmp_path: Path
) -> None:
    plain = digest(a_directory(tmp_path / "plain"))
    assert digest(a_directory(tmp_path / "other", bias=bias)) == plain


def test_an_unknown_field_is_warned_of_when_set(tmp_path: Path) -> None:
    weights = read(a_directory(tmp_path, use_something_new=True, another_new=None))
    [warning] = weights.training.warnings
    assert warning == "its field 'use_something_new' is unknown and has no effect"


def test_lora_ga_is_warned_of(tmp_path: Path) -> None:
    [warning] = read(a_directory(tmp_path, init_lora_weights="lora_ga")).training.warnings
    assert "path_initial_model_for_weight_conversion" in warning


def test_how_an_adapter_was_trained_is_told(tmp_path: Path) -> None:
    fields = {"peft_version": "0.21.2", "init_lora_weights": "eva", "use_rslora": True}
    training = read(a_directory(tmp_path, **fields)).training
    assert training == Training("some/base", "0.21.2", "eva", is_rank_stabilised=True)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_what_peft_saves_is_known_field_by_field(kind: str, tmp_path: Path) -> None:
    model = tiny_llama()
    save_adapter(model, tmp_path, ADAPTER_KINDS[kind])
    weights = read_adapter(str(tmp_path), geometry_of(model.config), 256, base_of(model))
    assert weights.training.warnings == ()
