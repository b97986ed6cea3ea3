"""Weights: where they may lie, and what is refused before anything is copied."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from motet.engine.models import check_weights, load_model, read_config
from motet.engine.models.loader import Progress
from motet.errors import ModelError
from motet.file_names import MODEL_WEIGHTS, MODEL_WEIGHTS_INDEX
from tests.model_factory import make_llama
from tests.models.stepping import Stepper, Track

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


def logits_of(path: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    spec = read_config(str(path))
    model = load_model(spec, dtype, torch.device("cpu"), 64, lambda *_: None)
    (logits,) = Stepper(model, spec, dtype).run([Track([5, 6, 7])], [[(0, 3)]])
    return logits


def load(path: Path, progress: Progress = lambda *_: None) -> None:
    load_model(read_config(str(path)), torch.float32, torch.device("cpu"), 64, progress)


def edit_tensors(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path / MODEL_WEIGHTS)
    edit(tensors)
    save_file(tensors, path / MODEL_WEIGHTS)


def cut(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:num_bytes])


def test_sharded_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    make_llama(tmp_path / "one")
    make_llama(tmp_path / "many", max_shard_size="100KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    assert torch.equal(logits_of(tmp_path / "many"), logits_of(tmp_path / "one"))


def test_weights_are_cast_to_the_dtype_of_the_engine(tmp_path: Path) -> None:
    make_llama(tmp_path / "half", dtype=torch.bfloat16)
    make_llama(tmp_path / "full")
    half, full = (logits_of(tmp_path / name, torch.bfloat16) for name in ("half", "full"))
    assert torch.equal(half, full)


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    load(make_llama(tmp_path), lambda done, total: calls.append((done, total)))
    expected = sum(t.nbytes for t in load_file(tmp_path / MODEL_WEIGHTS).values())
    done = [done for done, _ in calls]
    assert done == sorted(set(done))
    assert done[-1] == expected
    assert {total for _, total in calls} == {expected}


def test_harmless_extras_are_ignored(tmp_path: Path) -> None:
    make_llama(tmp_path)
    before = logits_of(tmp_path)
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    edit_tensors(tmp_path, lambda tensors: tensors.update({name: torch.ones(8)}))
    assert torch.equal(logits_of(tmp_path), before)


def test_tied_head_may_be_stored_twice(tmp_path: Path) -> None:
    make_llama(tmp_path, tie_word_embeddings=True)
    before = logits_of(tmp_path)
    edit_tensors(tmp_path, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING].clone()}))
    assert torch.equal(logits_of(tmp_path), before)


def test_tied_head_that_differs_is_refused(tmp_path: Path) -> None:
    make_llama(tmp_path, tie_word_embeddings=True)
    edit_tensors(tmp_path, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING] + 1}))
    assert_refused(tmp_path, "'lm_head.weight' and 'model.embed_tokens.weight' differ.*tie_word_em")


def test_tied_matrix_may_be_stored_as_the_head(tmp_path: Path) -> None:
    make_llama(tmp_path, tie_word_embeddings=True)
    before = logits_of(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    (tmp_path / MODEL_WEIGHTS).unlink()
    save_model(model, str(tmp_path / MODEL_WEIGHTS))  # keeps the alphabetically first name
    assert HEAD in load_file(tmp_path / MODEL_WEIGHTS).keys() - {EMBEDDING}
    assert torch.equal(logits_of(tmp_path), before)


def test_head_of_an_untied_model_is_not_taken_for_the_embedding(tmp_path: Path) -> None:
    make_llama(tmp_path, tie_word_embeddings=True)
    edit_tensors(tmp_path, lambda tensors: tensors.update({HEAD: tensors.pop(EMBEDDING)}))
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('embeddings": true', 'embeddings": false'))
    assert_refused(tmp_path, f"there is no tensor '{EMBEDDING}'")


def without_base_prefix(name: str) -> str:
    return name.removeprefix("model.")


RENAMED: dict[str, Callable[[str], str]] = {
    "without the head's class": without_base_prefix,
    "compiled": lambda name: f"_orig_mod.{name}",
    "data parallel": lambda name: f"module.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "layer by layer": lambda name: name.replace("self_attn.", "_orig_mod.self_attn."),
    "FSDP with checkpointing": lambda name: name.replace(
        "mlp.", "_fsdp_wrapped_module._checkpoint_wrapped_module.mlp."
    ),
    "in a model of their own": lambda name: f"model.{name}",
}
"""What trainers make of the names of tensors."""


@pytest.mark.parametrize("is_tied", [False, True], ids=["head", "tied"])
@pytest.mark.parametrize("case", RENAMED)
def test_names_of_wrappers_are_no_part_of_a_name(tmp_path: Path, case: str, is_tied: bool) -> None:
    make_llama(tmp_path, tie_word_embeddings=is_tied)
    before, rename = logits_of(tmp_path), RENAMED[case]
    tensors = load_file(tmp_path / MODEL_WEIGHTS)
    renamed = {rename(name): tensor for name, tensor in tensors.items()}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, tmp_path / MODEL_WEIGHTS)
    assert torch.equal(logits_of(tmp_path), before)


@pytest.mark.parametrize("names", [["v_head.summary.weight"], ["value_head.weight", "score.x"]])
def test_tensors_outside_the_model_are_named_in_one_warning(
    tmp_path: Path, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_llama(tmp_path)
    before = logits_of(tmp_path)
    edit_tensors(tmp_path, lambda t: t.update({name: torch.ones(1, 64) for name in names}))
    assert torch.equal(logits_of(tmp_path), before)
    assert not caplog.records  # loading is the second time that the headers are read
    check_weights(read_config(str(tmp_path)))
    [line] = caplog.messages
    assert f"'{min(names)}'" in line and "no part of the model" in line
    assert ("and 1 more" in line) == (len(names) == 2)


def test_an_adapter_with_a_config_is_no_model_without_weights(tmp_path: Path) -> None:
    (make_llama(tmp_path) / MODEL_WEIGHTS).unlink()
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert_refused(tmp_path, "is an adapter, not a model: serve .* org/base --adapter")


REFUSED_TENSORS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda t: t.pop(DOWN), f"there is no tensor '{DOWN}': .*different models"),
    "unexpected": (
        lambda t: t.update({"model.layers.2.mlp.down_proj.weight": torch.ones(64, 128)}),
        "unknown tensor 'model.layers.2.mlp.down_proj.weight'",
    ),
    "unexpected bias": (
        lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}),
        "unknown tensor 'model.layers.0.self_attn.q_proj.bias'",
    ),
    "two unexpected": (
        lambda t: t.update({"lm_head.bias": torch.ones(1), "model.b": torch.ones(1)}),
        "unknown tensor 'lm_head.bias' and 1 more",
    ),
    "missing head": (
        lambda t: t.pop(HEAD),
        f"there is no tensor '{HEAD}': if the head is the embedding, set tie_word_embeddings to t",
    ),
    "missing embedding": (lambda t: t.pop(EMBEDDING), f"there is no tensor '{EMBEDDING}'"),
    "empty": (
        lambda t: t.update({name: torch.zeros(0) for name in t}),
        r"tensor '.*' is empty, as DeepSpeed ZeRO-3 .*: save the model again with stage3_gather",
    ),
    "part of a larger model": (
        lambda t: [t.update({f"language_model.{name}": t.pop(name)}) for name in list(t)],
        f"prefix 'language_model.' of tensor 'language_model.{EMBEDDING}' is unknown: save",
    ),
    "an adapter within the model": (
        lambda t: t.update({DOWN.replace("weight", "base_layer.weight"): t.pop(DOWN)}),
        f"down_proj.base_layer.weight' in place of tensor '{DOWN}': .* merge_and_unload",
    ),
    "two names but for a wrapper": (
        lambda t: t.update({f"_orig_mod.{DOWN}": t[DOWN].clone()}),
        f"tensors '_orig_mod.{DOWN}' and '{DOWN}' are two of the same name but for wrappers",
    ),
    "NaN": (lambda t: t[DOWN][3, 5].fill_(torch.nan), f"tensor '{DOWN}' holds NaN or infinity"),
    "infinity": (lambda t: t[HEAD][0, 0].fill_(-torch.inf), f"'{HEAD}' holds NaN or infinity"),
    "wrong shape": (
        lambda t: t.update({DOWN: torch.ones(128, 64)}),
        rf"tensor '{DOWN}' has shape \[128, 64\], config.json says \[64, 128\]",
    ),
    "integers": (
        lambda t: t.update({DOWN: torch.ones(64, 128, dtype=torch.int8)}),
        f"tensor '{DOWN}' is stored as I8: save it as one of .*BF16",
    ),
    "eight-bit floats": (
        lambda t: t.update({DOWN: torch.ones(64, 128).to(torch.float8_e4m3fn)}),
        f"tensor '{DOWN}' is stored as F8_E4M3",
    ),
}


@pytest.mark.parametrize("case", REFUSED_TENSORS)
def test_tensor_is_refused_by_name(tmp_path: Path, case: str) -> None:
    edit, message = REFUSED_TENSORS[case]
    edit_tensors(make_llama(tmp_path), edit)
    assert_refused(tmp_path, message)


def shard(path: Path) -> Path:
    return sorted(path.glob("model-*.safetensors"))[1]


def index_of(path: Path, weight_map: object) -> None:
    (path / MODEL_WEIGHTS_INDEX).write_text(json.dumps({"weight_map": weight_map}))


def remove_weights(path: Path) -> None:
    for file in path.glob("*.safetensors*"):
        file.unlink()


def all_in_both(path: Path) -> None:
    first = load_file(sorted(path.glob("model-*.safetensors"))[0])
    save_file(load_file(shard(path)) | first, shard(path))


REFUSED_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (remove_weights, "model.safetensors is missing: download"),
    "no index": (
        lambda p: (p / MODEL_WEIGHTS_INDEX).unlink(),
        "there is 'model-00001-of.*, but neither model.safetensors nor .*index.json.*download it",
    ),
    "missing shard": (lambda p: shard(p).unlink(), "model-00002-of.*is missing"),
    "short shard": (lambda p: cut(shard(p), 1000), "model-00002-of.*is not a complete safetensors"),
    "shard without a byte": (lambda p: cut(shard(p), 0), "is not a complete safetensors file"),
    "shard that lost its end": (
        lambda p: cut(shard(p), shard(p).stat().st_size - 1),
        "is not a complete safetensors file.*copy it again",
    ),
    "header longer than the file": (
        lambda p: shard(p).write_bytes(b"\xff\xff\x00\x00\x00\x00\x00\x00{}"),
        "is not a complete safetensors file",
    ),
    "header that is no JSON": (
        lambda p: shard(p).write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00[["),
        "is not a complete safetensors file",
    ),
    "web page in place of a shard": (
        lambda p: shard(p).write_text("<!doctype html><p>404"),
        "is not a complete safetensors file",
    ),
    "corrupt index": (lambda p: cut(p / MODEL_WEIGHTS_INDEX, 30), "index.json is not valid JSON"),
    "index without a map": (
        lambda p: (p / MODEL_WEIGHTS_INDEX).write_text("{}"),
        "is not a valid index.*weight_map",
    ),
    "index that is a list": (lambda p: (p / MODEL_WEIGHTS_INDEX).write_text("[]"), "not an object"),
    "index of numbers": (lambda p: index_of(p, {HEAD: 1}), "is not a valid index"),
    "index of nothing": (lambda p: index_of(p, {}), "is not a valid index"),
    "index of lists": (lambda p: index_of(p, {HEAD: []}), "is not a valid index"),
    "index of files elsewhere": (
        lambda p: index_of(p, {HEAD: "../other.safetensors"}),
        "is not a valid index.*beside it",
    ),
    "index that forgets shards": (
        lambda p: index_of(p, {HEAD: shard(p).name}),
        "there is no tensor '.*'",
    ),
    "tensors in two shards": (all_in_both, "tensor '.*' is in both '.*' and '.*'"),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    damage, message = REFUSED_FILES[case]
    damage(make_llama(tmp_path, max_shard_size="100KB"))
    assert_refused(tmp_path, message)


def test_pickled_weights_are_refused_without_being_read(tmp_path: Path) -> None:
    make_llama(tmp_path)
    (tmp_path / MODEL_WEIGHTS).unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert_refused(tmp_path, "'pytorch_model.bin', a pickle.*save them as safetensors")


def test_weight_too_large_for_the_dtype_is_refused(tmp_path: Path) -> None:
    edit_tensors(make_llama(tmp_path), lambda tensors: tensors[DOWN][0, 0].fill_(1e6))
    load(tmp_path)
    with pytest.raises(ModelError, match=rf"'{DOWN}' .* infinity as .*16: .*wider --dtype"):
        logits_of(tmp_path, torch.float16)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_weights_must_be_a_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    weights = make_llama(tmp_path) / MODEL_WEIGHTS
    weights.unlink()
    make(weights)
    assert_refused(tmp_path, f"{MODEL_WEIGHTS} is no regular file")


def test_headers_are_compared_before_memory_is_taken(tmp_path: Path) -> None:
    config = make_llama(tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 10**15}))
    assert_refused(tmp_path, rf"'{EMBEDDING}' has shape \[320, 64\], .* \[{10**15}, 64\]")


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
