"""What a model directory says about itself, checked before any weight is read."""

import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from motet.engine.models.pretrained import invalid_config, load_config
from motet.engine.models.rope import RopeSpec, read_rope
from motet.engine.models.traits import Traits
from motet.engine.models.vocabulary import read_vocabulary
from motet.errors import ModelError
from motet.memory.device.files import MODEL, must_be_directory, read_json
from motet.memory.geometry import Module, in_layers

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"

ReadTraits = Callable[[PreTrainedConfig], Traits]
"""How one family's parsed config says what its decoder has."""

DTYPES = ("float32", "bfloat16", "float16")

ACTIVATIONS = ("silu", "swish")  # two names of one function

SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)

REFUSED_FIELDS = {
    "auto_map": "code that comes with a model is never run; choose a model without any",
    "quantization_config": "quantised weights are not served; choose the unquantised checkpoint",
    "compression_config": "compressed weights are not served; choose the uncompressed checkpoint",
}
"""Field of config.json -> why the model cannot be served, and what to do."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts of a decoder that its shapes, its cache and its tokens depend on."""

    directory: str
    architecture: str
    dtype: str
    """Of the checkpoint, one of DTYPES; float32 where config.json does not say."""
    vocab_size: int
    """Rows of the embedding and of the head."""
    num_token_ids: int
    """The first of them, which stand for tokens: the only ones that get logits."""
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    """Longest sequence the model was trained for."""
    norm_epsilon: float
    is_tied: bool
    """The output head is the token embedding."""
    eos_token_ids: tuple[int, ...]
    """Those of the token ids that the model or its tokenizer calls an end, ascending."""
    rope: RopeSpec
    traits: Traits

    @property
    def layer_modules(self) -> tuple[Module, ...]:
        """What adapters may target in each layer, of which it has its own; paths within it.

        Those that read the same input follow each other.
        """
        query, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        return (
            Module("self_attn.q_proj", self.hidden_size, query),
            Module("self_attn.k_proj", self.hidden_size, kv),
            Module("self_attn.v_proj", self.hidden_size, kv),
            Module("self_attn.o_proj", query, self.hidden_size),
            Module("mlp.gate_proj", self.hidden_size, self.intermediate_size),
            Module("mlp.up_proj", self.hidden_size, self.intermediate_size),
            Module("mlp.down_proj", self.intermediate_size, self.hidden_size),
        )

    @property
    def modules(self) -> tuple[Module, ...]:
        """Everything adapters may target, in the order of the kernels' tables."""
        ids, padding = self.num_token_ids, self.vocab_size - self.num_token_ids
        embedding = Module(
            "model.embed_tokens", ids, self.hidden_size, in_padding=padding, is_embedding=True
        )
        head = Module("lm_head", self.hidden_size, ids, out_padding=padding)
        return (*in_layers(self.num_layers, self.layer_modules), embedding, head)


def read_spec(directory: str, families: Mapping[str, ReadTraits]) -> ModelSpec:
    """Read config.json, generation_config.json and the tokenizer; no code of the model is run.

    `families` are the architectures that are served. Raises ModelError, one line naming the value
    and the remedy, unless the model can be served.
    """
    path = Path(directory)
    must_be_directory(path, MODEL)
    content = read_json(path / CONFIG_FILE, MODEL)
    has_generation = (path / GENERATION_FILE).exists()
    generation = read_json(path / GENERATION_FILE, MODEL) if has_generation else {}
    try:
        architecture = _architecture(content, families.keys())
        return _spec(directory, architecture, load_config(path), generation, families[architecture])
    except ModelError as error:
        raise ModelError(f"model '{directory}': {error}") from error.__cause__


def _architecture(content: dict[str, Any], architectures: Collection[str]) -> str:
    for field, reason in REFUSED_FIELDS.items():
        if content.get(field):
            raise ModelError(f"{CONFIG_FILE} has {field} {reprlib.repr(content[field])}: {reason}")
    named = content.get("architectures")
    if named not in [[name] for name in architectures]:
        supported = ", ".join(sorted(architectures))
        raise ModelError(
            f"architectures is {reprlib.repr(named)}: choose a model with one of {supported}"
        )
    (architecture,), model_type = named, str(content.get("model_type"))
    if MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type) != architecture:
        raise ModelError(
            f"model_type {reprlib.repr(model_type)} is not that of {architecture}: "
            f"correct {CONFIG_FILE}"
        )
    return str(architecture)


def _spec(
    directory: str,
    architecture: str,
    config: PreTrainedConfig,
    generation: dict[str, Any],
    read_traits: ReadTraits,
) -> ModelSpec:
    try:
        _check(config)
        vocabulary = read_vocabulary(Path(directory), config, generation)
        return ModelSpec(
            directory=directory,
            architecture=architecture,
            dtype=_dtype(config),
            vocab_size=config.vocab_size,
            num_token_ids=vocabulary.num_token_ids,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            max_positions=config.max_position_embeddings,
            norm_epsilon=config.rms_norm_eps,
            is_tied=config.tie_word_embeddings,
            eos_token_ids=vocabulary.eos_token_ids,
            rope=read_rope(config),
            traits=read_traits(config),
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise invalid_config(error) from error


def _check(config: PreTrainedConfig) -> None:
    """Refuse by name what parses but is not served."""
    sizes = {name: getattr(config, name, None) for name in SIZES}
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ModelError(f"{name} is {value}: it must be at least 1; correct {CONFIG_FILE}")
    if config.num_attention_heads % config.num_key_value_heads:
        raise ModelError(
            f"num_attention_heads {config.num_attention_heads} is no multiple of "
            f"num_key_value_heads {config.num_key_value_heads}: correct {CONFIG_FILE}"
        )
    if not 0 <= config.rms_norm_eps < math.inf:
        raise ModelError(f"rms_norm_eps is {config.rms_norm_eps}: correct {CONFIG_FILE}")
    if config.hidden_act not in ACTIVATIONS:
        raise ModelError(
            f"hidden_act '{config.hidden_act}' is not served: choose a model with {ACTIVATIONS[0]}"
        )
    if _dtype(config) not in DTYPES:
        raise ModelError(
            f"dtype '{_dtype(config)}' is not served: save the model in {', '.join(DTYPES)}"
        )


def _dtype(config: PreTrainedConfig) -> str:
    return str(config.dtype or DTYPES[0]).removeprefix("torch.")
