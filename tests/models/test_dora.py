"""DoRA: every output is rescaled as PEFT rescales it, or the adapter is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from motet import LLM
from motet.engine.config import EngineConfig
from motet.engine.start.build import build
from motet.engine.start.estimate import plan
from motet.errors import AdapterError
from tests.adapter_factory import AdapterKind, save_adapter
from tests.model_factory import FAMILIES, MAKERS
from tests.reference import check_served

PROMPTS = [[5, 17, 300, 4, 250], [319, 3, 3, 90], [200, 144, 143, 288]]

KINDS = {
    "plain": AdapterKind({"r": 8, "target_modules": "all-linear"}),
    "rank-stabilised": AdapterKind(
        {"r": 12, "lora_alpha": 5, "use_rslora": True, "target_modules": ["q_proj", "down_proj"]}
    ),
    "patterns": AdapterKind(
        {
            "r": 3,
            "target_modules": ["q_proj", "k_proj", "v_proj", "gate_proj"],
            "rank_pattern": {"k_proj": 17},
            "alpha_pattern": {"layers.1.self_attn.q_proj": 2},
        }
    ),
    "bfloat16": AdapterKind({"r": 16, "target_modules": ["v_proj", "up_proj"]}, torch.bfloat16),
}


def a_dora_adapter(model: Path, directory: Path, kind: AdapterKind) -> Path:
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return save_adapter(base, directory, AdapterKind(kind.config | {"use_dora": True}, kind.dtype))


CASES = [("Qwen2ForCausalLM", kind) for kind in KINDS]  # it has biases, which are not rescaled
CASES += [(architecture, "plain") for architecture in FAMILIES if architecture not in CASES[0]]


@pytest.mark.parametrize(("architecture", "kind"), CASES)
def test_dora_rows_say_what_peft_says(tmp_path: Path, architecture: str, kind: str) -> None:
    model = MAKERS[architecture](tmp_path / "m")
    adapter = a_dora_adapter(model, tmp_path / "a", KINDS[kind])

    check_served(model, adapter, PROMPTS)


def test_the_plan_of_an_adapter_counts_the_pages_of_its_gains(tmp_path: Path) -> None:
    model = MAKERS["LlamaForCausalLM"](tmp_path / "m")
    adapter = a_dora_adapter(model, tmp_path / "a", KINDS["plain"])

    [planned] = plan(EngineConfig(str(model), (("a", str(adapter)),))).adapters
    [served] = build(
        EngineConfig(str(model), (("a", str(adapter)),)), lambda *_: None
    ).info.adapters

    assert planned.num_pages == served.num_pages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: None, "use_dora is true, but tensor .* has no lora_magnitude_vector"),
        (
            lambda m: m[:-1],
            r"lora_magnitude_vector' has shape \[63\], the served model needs \[64\]",
        ),
        (lambda m: m * torch.inf, "lora_magnitude_vector' holds NaN or infinity"),
    ],
    ids=["missing", "short", "infinite"],
)
def test_a_magnitude_that_cannot_be_right_is_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    model = MAKERS["LlamaForCausalLM"](tmp_path / "m")
    kind = AdapterKind({"r": 2, "target_modules": ["q_proj"]})
    file = a_dora_adapter(model, tmp_path / "a", kind) / "adapter_model.safetensors"
    tensors = load_file(file)
    name = min(name for name in tensors if "magnitude" in name)
    changed = {name: change(tensors.pop(name))}
    save_file(tensors | {key: value for key, value in changed.items() if value is not None}, file)

    with pytest.raises(AdapterError, match=message):
        LLM(str(model), {"a": str(tmp_path / "a")}, pool_bytes=2**22)


def test_a_weight_that_overflows_the_dtype_is_named_as_that(tmp_path: Path) -> None:
    model = MAKERS["LlamaForCausalLM"](tmp_path / "m")
    kind = AdapterKind({"r": 2, "target_modules": ["q_proj"]})
    file = a_dora_adapter(model, tmp_path / "a", kind) / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({n: t * 1e6 if "lora_A" in n else t for n, t in tensors.items()}, file)

    with pytest.raises(AdapterError, match=r"a weight is too large for torch\.float16"):
        LLM(str(model), {"a": str(tmp_path / "a")}, pool_bytes=2**22, dtype="float16")


def test_a_row_of_zeros_cannot_be_rescaled(tmp_path: Path) -> None:
    model = MAKERS["LlamaForCausalLM"](tmp_path / "m")
    kind = AdapterKind({"r": 2, "target_modules": ["q_proj"]})
    adapter = a_dora_adapter(model, tmp_path / "a", kind)
    weights = load_file(model / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.weight"][5] = 0
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        if "layers.0" in name and "lora_B" in name:
            tensor[5] = 0
    save_file(tensors, adapter / "adapter_model.safetensors")

    with pytest.raises(AdapterError, match="norm of a row"):
        LLM(str(model), {"a": str(adapter)}, pool_bytes=2**22)
