"""Single tensors of a checkpoint are found by the names of the model's parameters."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.engine.models import read_config
from motet.engine.models.base_tensors import CheckpointTensors
from motet.errors import ModelError
from tests.model_factory import make_llama

NORM, EMBEDDING, HEAD = "model.norm.weight", "model.embed_tokens.weight", "lm_head.weight"


def tensors_of(path: Path) -> CheckpointTensors:
    return CheckpointTensors(read_config(str(path)))


@pytest.mark.parametrize("shards", ["1GB", "100KB"])
def test_a_tensor_is_that_of_the_file(shards: str, tmp_path: Path) -> None:
    base = tensors_of(make_llama(tmp_path, max_shard_size=shards))
    stored = {k: v for path in tmp_path.glob("*.safetensors") for k, v in load_file(path).items()}
    for name, expected in stored.items():
        found = base.tensor(name)
        assert found is not None and torch.equal(found, expected)
    assert base.tensor("model.layers.9.mlp.up_proj.weight") is None


@pytest.mark.parametrize("stored", [EMBEDDING, HEAD])
def test_a_tied_embedding_is_found_by_both_names(stored: str, tmp_path: Path) -> None:
    path = make_llama(tmp_path, tie_word_embeddings=True)
    tensors = load_file(path / "model.safetensors")
    tensors[stored] = tensors.pop(EMBEDDING)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    base = tensors_of(path)
    for name in (EMBEDDING, HEAD):
        found = base.tensor(name)
        assert found is not None and torch.equal(found, tensors[stored])


def test_an_untied_embedding_is_not_the_head(tmp_path: Path) -> None:
    base = tensors_of(make_llama(tmp_path))
    head, embedding = base.tensor(HEAD), base.tensor(EMBEDDING)
    assert head is not None and embedding is not None and not torch.equal(head, embedding)


def test_files_are_looked_at_when_a_tensor_is_wanted(tmp_path: Path) -> None:
    base = tensors_of(make_llama(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        base.tensor(NORM)
