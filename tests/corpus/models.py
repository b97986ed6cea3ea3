"""Model directories of every family, made by transformers and then spelled as others spell them."""

import copy
import json
import os
import shutil
from dataclasses import dataclass, replace
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
END = "eos_token_id"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

ROPE_FIELDS = ("rope_parameters", "rope_scaling", "rope_theta")
END_OF_CLASS = {"llama": 2, "mistral": 2, "qwen2": None, "qwen3": None}
"""What transformers' configuration classes call an end, and so save; and where no file does."""


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
        self._untrained: dict[Weights, PreTrainedModel] = {}

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
        judged_as = STORAGES[model.storage].judged_as
        if judged_as:
            return self.reference(replace(model, storage=judged_as))
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
        if weights not in self._untrained:
            self._untrained[weights] = self._saved(self.weights(weights))
        return copy.deepcopy(self._untrained[weights])

    @staticmethod
    def _saved(path: Path) -> PreTrainedModel:
        with quiet():
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        return model


def ends_of(model: Model, of_tokenizer: set[int]) -> set[int]:
    """What config.json, generation_config.json and the tokenizer's files call ends.

    What the configuration class says counts where none of them says anything, not even null.
    """
    oddity, of_class = ODDITIES[model.oddity], END_OF_CLASS[model.weights.family]
    config = {END: of_class, **oddity.fields}
    generation = {END: of_class, **(oddity.generation or {})}
    said = [] if END in oddity.drop else [config[END]]
    if oddity.generation is not None and END not in oddity.generation_drop:
        said.append(generation[END])
    ends = of_tokenizer.union(*map(_listed, said))
    return ends or set(_listed(of_class if END in oddity.drop else None))


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
