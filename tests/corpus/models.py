"""Model directories of every family, made by transformers and then spelled as others spell them."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.corpus.oddities import ODDITIES
from tests.corpus.quiet import quiet
from tests.corpus.ropes import ROPE_FORMS
from tests.corpus.storage import STORAGES
from tests.model_factory import MAKERS

VOCAB_SIZE = 640
"""More than any tokenizer of the corpus has: the rest is padding."""

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
SIZES: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "max_position_embeddings": 256}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

ROPE_FIELDS = ("rope_parameters", "rope_scaling", "rope_theta")
END_OF_CLASS = {"llama": (2,), "mistral": (2,), "qwen2": (), "qwen3": ()}
"""What transformers' configuration classes call an end where no file does."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What an adapter is trained for."""

    family: str = "llama"
    tied: bool = False
    dtype: str = "f32"

    @property
    def name(self) -> str:
        return f"{self.family}-{'tied' if self.tied else 'head'}-{self.dtype}"


@dataclass(frozen=True, slots=True)
class Model:
    """A model directory without its tokenizer: keys of the tables."""

    weights: Weights = Weights()
    rope: str = "default"
    storage: str = "one-file"
    oddity: str = "plain"

    @property
    def name(self) -> str:
        return f"{self.weights.name}-{self.rope}-{self.storage}-{self.oddity}"

    @property
    def refusals(self) -> tuple[str, ...]:
        parts = (ROPE_FORMS[self.rope], STORAGES[self.storage], ODDITIES[self.oddity])
        return tuple(part.refusal for part in parts if part.refusal)


class ModelShelf:
    """Makes each weights file once; directories share it by hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._references: dict[Model, PreTrainedModel] = {}

    def weights(self, weights: Weights, storage: str = "one-file") -> Path:
        """The directory as transformers saves it."""
        path = self._root / "weights" / f"{weights.name}-{storage}"
        if not path.exists():
            with quiet():
                MAKERS[ARCHITECTURES[weights.family]](
                    path,
                    dtype=DTYPES[weights.dtype],
                    tie_word_embeddings=weights.tied,
                    **SIZES,
                )
                STORAGES[storage].write(self._saved(path), path)
        return path

    def link(self, model: Model, path: Path) -> Path:
        """Make `path` the directory of `model`."""
        path.mkdir(parents=True)
        source = self.weights(model.weights, model.storage)
        for file in source.glob("*.safetensors*"):
            os.link(file, path / file.name)
        _write_configs(model, source, path)
        return path

    def reference(self, model: Model) -> PreTrainedModel:
        """What transformers loads from such a directory, in float32; as good as new."""
        if model not in self._references:
            path = self._root / "references" / model.name
            with quiet():
                self._references[model] = AutoModelForCausalLM.from_pretrained(
                    self.link(model, path), dtype=torch.float32
                ).train(False)
            shutil.rmtree(path)
        return self._references[model]

    def trained_for(self, weights: Weights) -> PreTrainedModel:
        """A new model to train an adapter on, in the dtype of its file."""
        return self._saved(self.weights(weights))

    @staticmethod
    def _saved(path: Path) -> PreTrainedModel:
        with quiet():
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        return model


def ends_of_files(model: Model) -> set[int] | None:
    """What config.json and generation_config.json call ends; None where both are silent."""
    oddity = ODDITIES[model.oddity]
    said: list[Any] = []
    of_class: dict[str, Any] = {"eos_token_id": _saved_end(model.weights.family)}
    config = {name: v for name, v in (of_class | oddity.fields).items() if name not in oddity.drop}
    said.append(config.get("eos_token_id"))
    if oddity.generation is not None:
        generation = of_class | oddity.generation
        said += [v for name, v in generation.items() if name not in oddity.generation_drop]
    ends = {end for field in said for end in _listed(field)}
    return ends or None


def _saved_end(family: str) -> int | None:
    return next(iter(END_OF_CLASS[family]), None)


def _listed(field: Any) -> list[int]:
    return field if isinstance(field, list) else [] if field is None else [field]


def _write_configs(model: Model, source: Path, path: Path) -> None:
    oddity, rope = ODDITIES[model.oddity], ROPE_FORMS[model.rope]
    config = json.loads((source / "config.json").read_text())
    kept = {name: value for name, value in config.items() if name not in ROPE_FIELDS}
    changed = kept | rope.fields | oddity.fields
    final = {name: value for name, value in changed.items() if name not in oddity.drop}
    (path / "config.json").write_text(json.dumps(final, indent=2))
    if oddity.generation is not None:
        generation = json.loads((source / "generation_config.json").read_text())
        changed = generation | oddity.generation
        final = {name: v for name, v in changed.items() if name not in oddity.generation_drop}
        (path / "generation_config.json").write_text(json.dumps(final, indent=2))
