"""What a model directory says about itself, checked before any weight is read."""

import json
import logging
import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from motet.engine.models.checkpoint import must_be_no_adapter, stored_dtype
from motet.engine.models.pretrained import invalid_config, load_config
from motet.engine.models.rope import RopeSpec, context_length, read_rope
from motet.engine.models.rope_fields import check_rope_fields
from motet.engine.models.traits import Traits
from motet.engine.models.vocabulary import read_vocabulary
from motet.errors import ModelError
from motet.file_names import ADAPTER_CONFIG, GENERATION_CONFIG, MODEL_CONFIG
from motet.memory.device.files import MODEL, must_be_directory, read_json
from motet.memory.geometry import Module, in_layers

log = logging.getLogger(__name__)


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
    "quantization_config": "quantised weights are not served; choose the unquantised checkpoint",
    "compression_config": "compressed weights are not served; choose the uncompressed checkpoint",
}
"""Field of config.json -> why the model cannot be served, and what to do."""

MODEL_CODE = "AutoModel"
"""Beginning of the keys of auto_map that name code of the model itself."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts of a decoder that its shapes, its cache and its tokens depend on."""

    directory: str
    architecture: str
    dtype: str
    """Of the checkpoint, one of DTYPES: that of most weights where config.json does not say."""
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
    """Longest sequence the model was made for, as its rotary embedding extends it."""
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
    if not (path / MODEL_CONFIG).exists():
        must_be_no_adapter(path)
        _must_not_be_around_models(path)
    content = read_json(path / MODEL_CONFIG, MODEL)
    has_generation = (path / GENERATION_CONFIG).exists()
    generation = read_json(path / GENERATION_CONFIG, MODEL) if has_generation else {}
    try:
        architecture = _architecture(content, families.keys())
        check_rope_fields(content)
        dtype, config = _named_dtype(content), load_config(path)
        spec = _spec(directory, architecture, dtype, config, generation, families[architecture])
    except ModelError as error:
        name = f"model '{directory}': "  # which some of the readers say themselves
        raise ModelError(name + str(error).removeprefix(name)) from error.__cause__
    if not dtype:
        spec = replace(spec, dtype=stored_dtype(path))
    _warn(path, content, architecture)
    return spec


def _must_not_be_around_models(directory: Path) -> None:
    """Name the newest checkpoint of a trainer, or a snapshot in a directory of the hub's cache."""
    inner = [
        config.parent
        for pattern in (f"checkpoint-*/{MODEL_CONFIG}", f"snapshots/*/{MODEL_CONFIG}")
        for config in directory.glob(pattern)
    ]
    if inner:
        newest = max(inner, key=lambda path: path.stat().st_mtime_ns)
        raise MODEL.fault(directory, f"{MODEL_CONFIG} is missing: did you mean '{newest}'?")
    for adapter in sorted(directory.glob(f"checkpoint-*/{ADAPTER_CONFIG}")):
        must_be_no_adapter(adapter.parent)


def _architecture(content: dict[str, Any], architectures: Collection[str]) -> str:
    """By model_type, as transformers chooses; `architectures` may be missing, or must name it."""
    for field, reason in REFUSED_FIELDS.items():
        if content.get(field):
            raise ModelError(f"{MODEL_CONFIG} has {field} {reprlib.repr(content[field])}: {reason}")
    named, model_type = content.get("architectures"), content.get("model_type")
    of_type = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(str(model_type))
    if of_type in architectures and (not named or (isinstance(named, list) and of_type in named)):
        return str(of_type)
    if _model_code(content):
        raise ModelError(
            f"{MODEL_CONFIG} has auto_map {reprlib.repr(content['auto_map'])}: code that comes "
            f"with a model is never run, and architectures {reprlib.repr(named)} is none that "
            "motet knows; choose a model without code"
        )
    raise ModelError(_mismatch(named, model_type, of_type, architectures))


def _mismatch(
    named: Any, model_type: Any, of_type: str | None, architectures: Collection[str]
) -> str:
    """Why `architectures` and model_type are not those of one family that is served."""
    served = ", ".join(sorted(architectures))
    known = [name for name in architectures if isinstance(named, list) and name in named]
    if known:
        right_type = known[0].removesuffix("ForCausalLM").lower()
        return (
            f"model_type {reprlib.repr(model_type)} is not that of {known[0]}: set it to "
            f"'{right_type}', or correct architectures in {MODEL_CONFIG}"
        )
    if of_type in architectures:
        return (
            f"architectures is {reprlib.repr(named)}: choose a model with one of {served}, or set "
            f"it to {json.dumps([of_type])} in {MODEL_CONFIG} if the model is one"
        )
    if not named and model_type is None:
        return (
            f"{MODEL_CONFIG} has neither architectures nor model_type: add both, such as "
            '"architectures": ["LlamaForCausalLM"] and "model_type": "llama"'
        )
    return (
        f"architectures is {reprlib.repr(named)} and model_type {reprlib.repr(model_type)}: "
        f"choose a model with one of {served}"
    )


def _model_code(content: dict[str, Any]) -> list[str]:
    """What of the model's own code config.json names, the tokenizer's aside."""
    auto_map = content.get("auto_map")
    keys = auto_map if isinstance(auto_map, dict) else {}
    return [str(keys[key]) for key in keys if key.startswith(MODEL_CODE)]


def _warn(directory: Path, content: dict[str, Any], architecture: str) -> None:
    """Of what lies in the directory, or is named there, and is not used."""
    code = _model_code(content)
    if code:
        log.warning(
            "model '%s': its own code (%s) is never run, motet's %s is served",
            directory, reprlib.repr(code[0]), architecture,
        )  # fmt: skip
    if (directory / ADAPTER_CONFIG).exists():
        log.warning(
            "model '%s': the adapter beside the weights is not part of it: "
            "add --adapter NAME=%s to apply it",
            directory, directory,
        )  # fmt: skip


def _spec(
    directory: str,
    architecture: str,
    dtype: str,
    config: PreTrainedConfig,
    generation: dict[str, Any],
    read_traits: ReadTraits,
) -> ModelSpec:
    try:
        _check(config)
        vocabulary = read_vocabulary(Path(directory), config, generation)
        rope = read_rope(config)
        max_positions = context_length(config)
        _must_be_positive("the extended context", max_positions)
        return ModelSpec(
            directory=directory,
            architecture=architecture,
            dtype=dtype,
            vocab_size=config.vocab_size,
            num_token_ids=vocabulary.num_token_ids,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            max_positions=max_positions,
            norm_epsilon=config.rms_norm_eps,
            is_tied=config.tie_word_embeddings,
            eos_token_ids=vocabulary.eos_token_ids,
            rope=rope,
            traits=read_traits(config),
        )
    except (
        ArithmeticError, AttributeError, KeyError, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise invalid_config(error) from error


def _check(config: PreTrainedConfig) -> None:
    """Refuse by name what parses but is not served."""
    sizes = {name: getattr(config, name, None) for name in SIZES}
    for name, value in sizes.items():
        _must_be_positive(name, value)
    if config.num_attention_heads % config.num_key_value_heads:
        raise ModelError(
            f"num_attention_heads {config.num_attention_heads} is no multiple of "
            f"num_key_value_heads {config.num_key_value_heads}: correct {MODEL_CONFIG}"
        )
    if not 0 <= config.rms_norm_eps < math.inf:
        raise ModelError(f"rms_norm_eps is {config.rms_norm_eps}: correct {MODEL_CONFIG}")
    if config.hidden_act not in ACTIVATIONS:
        raise ModelError(
            f"hidden_act '{config.hidden_act}' is not served: choose a model with {ACTIVATIONS[0]}"
        )


def _must_be_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"{name} is {value}: it must be at least 1; correct {MODEL_CONFIG}")


def _named_dtype(content: dict[str, Any]) -> str:
    """Empty where config.json does not say."""
    named = content.get("dtype") or content.get("torch_dtype")
    if named and named not in DTYPES:
        raise ModelError(
            f"dtype {reprlib.repr(named)} is not served: save the model in {', '.join(DTYPES)}"
        )
    return str(named or "")
