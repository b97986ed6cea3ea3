"""An adapter's digest covers what the kernels will see, and nothing else."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from motet.file_names import ADAPTER_WEIGHTS
from motet.memory.device.peft import read_adapter
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from tests.adapter_factory import NO_TENSORS
from tests.memory.peft_directories import Q_A, Tensors, a_directory, digest, some_tensors


def test_digest_does_not_depend_on_order_or_fields_without_effect(tmp_path: Path) -> None:
    plain = a_directory(tmp_path / "plain")
    backwards = dict(reversed(some_tensors().items()))
    other = a_directory(tmp_path / "other", backwards, lora_dropout=0.5, target_modules=["q_proj"])
    assert digest(other) == digest(plain)


def test_digest_of_equal_scales_is_equal(tmp_path: Path) -> None:
    plain = a_directory(tmp_path / "plain", lora_alpha=8)
    stabilised = a_directory(tmp_path / "stabilised", lora_alpha=4, use_rslora=True)
    assert digest(stabilised) == digest(plain)


def test_digest_of_another_alpha_differs(tmp_path: Path) -> None:
    plain = a_directory(tmp_path / "plain")
    assert digest(a_directory(tmp_path / "other", lora_alpha=9)) != digest(plain)


def test_digest_of_another_number_format_differs(tmp_path: Path) -> None:
    ones: dict[torch.dtype, Tensors] = {
        dtype: {name: torch.ones_like(t, dtype=dtype) for name, t in some_tensors().items()}
        for dtype in (torch.float32, torch.bfloat16)
    }
    narrow = a_directory(tmp_path / "narrow", ones[torch.bfloat16])
    wide = a_directory(tmp_path / "wide", ones[torch.float32])
    assert digest(narrow) != digest(wide)


def test_digest_of_one_changed_bit_differs(tmp_path: Path) -> None:
    plain = a_directory(tmp_path)
    before = digest(plain)
    tensors = load_file(plain / ADAPTER_WEIGHTS)
    tensors[Q_A].view(torch.int32)[3, 7] ^= 1
    save_file(tensors, plain / ADAPTER_WEIGHTS)
    assert digest(plain) != before


def test_digest_of_another_module_differs(tmp_path: Path) -> None:
    square = AdapterGeometry(
        in_layers(2, (Module("self_attn.q_proj", 8, 8), Module("self_attn.o_proj", 8, 8))), 8
    )
    tensors = {name.replace("q_proj", "o_proj"): t for name, t in some_tensors().items()}
    one = read_adapter(str(a_directory(tmp_path / "q")), square, 256, NO_TENSORS)
    other = read_adapter(str(a_directory(tmp_path / "o", tensors)), square, 256, NO_TENSORS)
    assert one.digest("base", torch.float32) != other.digest("base", torch.float32)


def test_digest_of_another_base_model_or_dtype_differs(tmp_path: Path) -> None:
    path = a_directory(tmp_path)
    others = {digest(path), digest(path, base="b"), digest(path, dtype=torch.bfloat16)}
    assert len(others) == 3
