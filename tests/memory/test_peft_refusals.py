"""PEFT directories that cannot be served: refused in one line that says what and why."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftType

from motet.errors import AdapterError
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.device.files import MAX_JSON_BYTES, MAX_MESSAGE
from motet.memory.device.peft import PICKLE_FILE
from motet.memory.device.peft_fields import REFUSED
from motet.memory.device.tensor_file import MAX_TENSORS
from tests.corpus.spoiling import many_tensors
from tests.memory.peft_directories import Q_A, Q_B, Tensors, a_directory, a_name, read, some_tensors


@pytest.mark.parametrize("field", REFUSED)
def test_fields_that_change_the_computation_are_refused_by_name(field: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=field):
        read(a_directory(tmp_path, None, **{field: ["x"]}))


@pytest.mark.parametrize("field", REFUSED)
@pytest.mark.parametrize("value", [None, False, [], {}])
def test_fields_that_are_not_set_are_fine(field: str, value: object, tmp_path: Path) -> None:
    read(a_directory(tmp_path, None, **{field: value}))


@pytest.mark.parametrize("method", sorted(set(PeftType) - {PeftType.LORA}))
def test_every_other_method_is_refused_by_its_name(method: PeftType, tmp_path: Path) -> None:
    must_be_refused(a_directory(tmp_path, peft_type=method.value), f"peft_type is '{method.value}'")


BAD_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "peft type": ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
    "no peft type": ({"peft_type": None}, "peft_type is None"),
    "other peft type": ({"peft_type": "XLORA"}, "peft_type is 'XLORA'.*merge_and_unload"),
    "PiSSA": ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'.*path_initial_model"),
    "fast PiSSA": ({"init_lora_weights": "pissa_niter_16"}, "'pissa_niter_16'.*path_initial_mod"),
    "OLoRA": ({"init_lora_weights": "OLoRA"}, "'OLoRA'.*path_initial_model_for.*merge_and_unload"),
    "CorDA": ({"init_lora_weights": "corda"}, "'corda'.*path_initial_model_for_weight_conversion"),
    "LoftQ": ({"init_lora_weights": "loftq"}, "'loftq'.*converted.*; merge it with PEFT's"),
    "unknown init": ({"init_lora_weights": "new"}, "'new', which is unknown and may change"),
    "PiSSA that cannot be converted": (
        {"init_lora_weights": "pissa", "use_rslora": True, "rank_pattern": {"q_proj": 4}},
        "converted when it was saved; merge it",
    ),
    "layers to save": ({"modules_to_save": "lm_head"}, "modules_to_save .* 'lm_head'.*list of nam"),
    "rank zero": ({"r": 0}, "r in adapter_config.json is 0"),
    "rank negative": ({"r": -4}, "is -4"),
    "rank text": ({"r": "4"}, "is '4'"),
    "rank true": ({"r": True}, "is True"),
    "rank fraction": ({"r": 4.0}, "is 4.0"),
    "alpha text": ({"lora_alpha": "8"}, "lora_alpha in adapter_config.json is '8'"),
    "alpha infinite": ({"lora_alpha": math.inf}, "lora_alpha in adapter_config.json is inf"),
    "alpha huge": ({"lora_alpha": 10**400}, r"is 10{10,20}\.\.\.0+: it must be"),
    "alpha nan": ({"lora_alpha": math.nan}, "is nan"),
    "rslora text": ({"use_rslora": "yes"}, "use_rslora in adapter_config.json is 'yes'"),
    "pattern list": ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
    "pattern zero": ({"rank_pattern": {"q_proj": 0}}, "rank_pattern"),
    "alpha pattern text": ({"alpha_pattern": {"q_proj": "8"}}, "alpha_pattern"),
    "pattern key": ({"alpha_pattern": {"(q_proj": 8}}, r"alpha_pattern .* '\(q_proj'"),
    "pattern key too long": ({"rank_pattern": {"q" * 513: 4}}, "longer than 512 characters"),
    "too many patterns": (
        {"rank_pattern": {f"q{i}": 4 for i in range(4097)}},
        "rank_pattern .*at most 4096 ranks",
    ),
    "pattern fuzzy": (
        {"rank_pattern": {"(q){e<=1}": 4}},
        "no regular expression .*without a count",
    ),
    "pattern of classes": ({"rank_pattern": {"[[:alpha:]]": 4}}, "'\\[\\[.*brackets in brackets"),
    "pattern beyond bounds": ({"rank_pattern": {"q{99999999999}": 4}}, "no regular expression"),
    "other rank": ({"r": 8}, "rank 4, .* says 8"),
    "other rank by pattern": ({"rank_pattern": {"q_proj": 5}}, "rank 4, .* says 5"),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_bad_fields_are_refused(case: str, tmp_path: Path) -> None:
    fields, message = BAD_FIELDS[case]
    must_be_refused(a_directory(tmp_path, **fields), message)


def must_be_refused(path: Path, message: str, max_rank: int = 256) -> None:
    with pytest.raises(AdapterError, match=message) as caught:
        read(path, max_rank)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < MAX_MESSAGE + len(str(path)) + 50
    assert str(path) in str(caught.value)


BAD_TENSORS: dict[str, tuple[Tensors, str]] = {
    "unknown": ({"model.norm.weight": torch.ones(8)}, "'model.norm.weight' is no LoRA matrix"),
    "empty A": ({Q_A: torch.zeros(0)}, r"lora_A.* shape \[0\]: it was saved by DeepSpeed ZeRO-3"),
    "empty copy": ({"lm_head.weight": torch.zeros(0)}, "lm_head.weight.* DeepSpeed ZeRO-3"),
    "prefix": (
        {f"student.{a_name(0, 'q_proj', 'A')}": torch.ones(4, 8)},
        "prefix 'student.' is unknown",
    ),
    "head": ({"base_model.model.lm_head.lora_A.weight": torch.ones(4, 8)}, "module 'lm_head'"),
    "parent": (
        {a_name(0, "q_proj", "A").replace("self_attn", "cross_attn"): torch.ones(4, 8)},
        "cross_attn.q_proj.*only self_attn.q_proj",
    ),
    "module": (
        {a_name(0, "qkv_proj", "A"): torch.ones(4, 8)},
        "qkv_proj.*only self_attn.q_proj, self_attn.v_proj",
    ),
    "vision": (
        {"base_model.model.vision_tower.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 8)},
        "prefix 'vision_tower.' is unknown",
    ),
    "layer": ({a_name(2, "q_proj", "A"): torch.ones(4, 8)}, "layer 2.* has 2 layers.*some/base"),
    "embedding": (
        {"base_model.model.model.embed_tokens.lora_embedding_A": torch.ones(4, 8)},
        "module 'model.embed_tokens': only",
    ),
    "linear as embedding": (
        {Q_A.replace("lora_A.weight", "lora_embedding_A"): torch.ones(4, 8)},
        "lora_embedding_A' is that of an embedding, 'model.layers.0.self_attn.q_proj' is none",
    ),
    "embedding base": (
        {"base_model.model.model.embed_tokens.base_layer.weight": torch.ones(4, 8)},
        "embed_tokens.base_layer.weight' is no LoRA matrix and no tensor of the base model",
    ),
    "base": (
        {Q_A.replace("lora_A", "base_layer"): torch.ones(4, 8)},
        "base_layer.weight' is no LoRA matrix and no tensor of the base model",
    ),
    "magnitude": (
        some_tensors() | {Q_A.replace("A.weight", "magnitude_vector"): torch.ones(8)},
        "use_dora is false, but tensor .* has one",
    ),
    "bias": ({Q_B.replace("weight", "bias"): torch.ones(8)}, "lora_B.bias': biases"),
    "KaSA": ({Q_A.replace("A.weight", "diag"): torch.ones(4)}, "lora_diag': KaSA"),
    "token": (
        {"model.embed_tokens.token_adapter.trainable_tokens_delta": torch.ones(2, 8)},
        "replaced token embeddings are not served; merge it",
    ),
    "two names": ({Q_A.replace(".weight", ".b.weight"): torch.ones(4, 8)}, "fill the same place"),
    "no B": ({a_name(0, "v_proj", "A"): torch.ones(4, 8)}, "v_proj.lora_A.* has no lora_B"),
    "no A": ({a_name(0, "v_proj", "B"): torch.ones(4, 4)}, "v_proj.lora_B.* has no lora_A"),
    "wide A": ({Q_A: torch.ones(4, 9)}, r"lora_A.* shape \[4, 9\].* \[4, 8\].*some/base"),
    "tall B": ({Q_B: torch.ones(9, 4)}, r"lora_B.* shape \[9, 4\].* \[8, 4\].*some/base"),
    "B of other rank": ({Q_B: torch.ones(8, 5)}, r"lora_B.* shape \[8, 5\].* \[8, 4\]"),
    "flat A": ({Q_A: torch.ones(32)}, r"shape \[32\]: it was saved by DeepSpeed ZeRO-3 or FSDP"),
    "deep A": ({Q_A: torch.ones(4, 8, 1, 1)}, r"shape \[4, 8, 1, 1\], a LoRA matrix has two sides"),
    "many sides": ({Q_A: torch.ones(4, 8, *[1] * 9999)}, r"shape \[4, 8, 1.* 1\], a LoRA matrix"),
    "endless name": ({"n" * 10_000: torch.ones(1)}, r"tensor 'n+ \.\.\. n+' is no LoRA matrix"),
    "rank 0": ({Q_A: torch.ones(0, 8), Q_B: torch.ones(8, 0)}, r"shape \[0, 8\]: it was saved by"),
    "NaN": ({Q_A: torch.full((4, 8), math.nan)}, "lora_A.* NaN or infinity"),
    "infinity": ({Q_B: torch.full((8, 4), math.inf)}, "lora_B.* NaN or infinity"),
    "int8": ({Q_A: torch.ones(4, 8, dtype=torch.int8)}, "lora_A.* stored as int8"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors_are_refused(case: str, tmp_path: Path) -> None:
    tensors, message = BAD_TENSORS[case]
    must_be_refused(a_directory(tmp_path, some_tensors() | tensors), message)


def test_an_adapter_without_tensors_is_refused(tmp_path: Path) -> None:
    must_be_refused(a_directory(tmp_path, {}), "holds no tensors")


def test_a_rank_above_the_limit_is_refused(tmp_path: Path) -> None:
    must_be_refused(a_directory(tmp_path), "rank 4, .*--max-lora-rank 3", max_rank=3)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no directory": (shutil.rmtree, "does not exist"),
    "no config": (lambda path: (path / ADAPTER_CONFIG).unlink(), f"{ADAPTER_CONFIG} is missing"),
    "config is a directory": (
        lambda path: (
            (path / ADAPTER_CONFIG).rename(path / "away").with_name(ADAPTER_CONFIG).mkdir()
        ),
        f"{ADAPTER_CONFIG} is no regular file",
    ),
    "no JSON": (lambda path: (path / ADAPTER_CONFIG).write_text("{"), "not valid JSON"),
    "no text": (
        lambda path: (path / ADAPTER_CONFIG).write_bytes(b"\xff\xfe\xfd"),
        "not valid JSON",
    ),
    "deep JSON": (lambda path: (path / ADAPTER_CONFIG).write_text("[" * 100_000), "not valid JSON"),
    "no object": (
        lambda path: (path / ADAPTER_CONFIG).write_text("[1]"),
        r"is \[1\], not an object",
    ),
    "no weights": (lambda path: (path / ADAPTER_WEIGHTS).unlink(), f"{ADAPTER_WEIGHTS} is missing"),
    "pickle": (
        lambda path: (path / ADAPTER_WEIGHTS).rename(path / PICKLE_FILE),
        f"{PICKLE_FILE} is a pickle and never loaded",
    ),
    "endless config": (
        lambda path: replace(path / ADAPTER_CONFIG, lambda it: it.symlink_to("/dev/zero")),
        f"{ADAPTER_CONFIG} is no regular file",
    ),
    "config is a pipe": (
        lambda path: replace(path / ADAPTER_CONFIG, os.mkfifo),
        f"{ADAPTER_CONFIG} is no regular file",
    ),
    "weights are a pipe": (
        lambda path: replace(path / ADAPTER_WEIGHTS, os.mkfifo),
        f"{ADAPTER_WEIGHTS} is no regular file",
    ),
    "no end": (
        lambda path: (path / ADAPTER_CONFIG).write_bytes(b" " * (MAX_JSON_BYTES + 1)),
        f"{ADAPTER_CONFIG} is larger than",
    ),
    "empty": (lambda path: (path / ADAPTER_WEIGHTS).write_bytes(b""), "not a complete"),
    "truncated": (
        lambda path: (path / ADAPTER_WEIGHTS).write_bytes(
            (path / ADAPTER_WEIGHTS).read_bytes()[:-1]
        ),
        "not a complete safetensors file",
    ),
    "too many tensors": (
        lambda path: (path / ADAPTER_WEIGHTS).write_bytes(many_tensors(MAX_TENSORS + 1)),
        f"has {MAX_TENSORS + 1} tensors, more than {MAX_TENSORS}",
    ),
    "garbage": (lambda path: (path / ADAPTER_WEIGHTS).write_bytes(b"\x80" * 999), "not a complete"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused(case: str, tmp_path: Path) -> None:
    path = a_directory(tmp_path / "adapter")
    spoil, message = BAD_FILES[case]
    spoil(path)
    must_be_refused(path, message)


def test_the_adapters_that_a_trainer_left_in_a_directory_are_named(tmp_path: Path) -> None:
    for name in ("checkpoint-900", "checkpoint-1000", "default"):
        a_directory(tmp_path / name)
    must_be_refused(
        tmp_path,
        rf"adapter_config.json is missing.*did you mean '{tmp_path}/checkpoint-1000'\? "
        r"\(there are also 'default', 'checkpoint-900'\)",
    )


def test_one_adapter_in_a_directory_is_named(tmp_path: Path) -> None:
    a_directory(tmp_path / "sql")
    must_be_refused(tmp_path, rf"did you mean '{tmp_path}/sql'\?$")


def test_a_model_in_place_of_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    must_be_refused(tmp_path, "it is a model, not an adapter .*: serve it as MODEL")


def test_a_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    must_be_refused(a_directory(tmp_path) / ADAPTER_WEIGHTS, "is a file")
