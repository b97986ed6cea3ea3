"""Real PEFT adapters of every kind for a tiny Llama, made with a seed."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Embedding, Linear
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from motet.memory.geometry import AdapterGeometry, Module, in_layers


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """Arguments of `LoraConfig`, and the format of the file."""

    config: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32


ADAPTER_KINDS = {
    "query-value": AdapterKind({"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}),
    "all-linear": AdapterKind({"r": 3, "lora_alpha": 7, "target_modules": "all-linear"}),
    "regex": AdapterKind(
        {"r": 5, "target_modules": r".*layers\.[02]\.(self_attn\.k_proj|mlp\.down_proj)"}
    ),
    "patterns": AdapterKind(
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": "all-linear",
            "rank_pattern": {"q_proj": 17, "layers.1.mlp.down_proj": 1, r".*\.v_pr.j": 9},
            "alpha_pattern": {"^model.layers.1.*": 3, "mlp.up_proj": 1.5},
        }
    ),
    "rank-stabilised": AdapterKind(
        {"r": 17, "lora_alpha": 8, "use_rslora": True, "target_modules": ["o_proj", "gate_proj"]}
    ),
    "one-layer": AdapterKind(
        {
            "r": 8,
            "target_modules": ["k_proj", "up_proj"],
            "layers_to_transform": [1],
            "layers_pattern": "layers",
        }
    ),
    "rank-1": AdapterKind({"r": 1, "lora_alpha": 2, "target_modules": ["q_proj", "down_proj"]}),
    "rank-64": AdapterKind({"r": 64, "lora_alpha": 16, "target_modules": "all-linear"}),
    "rank-256": AdapterKind({"r": 256, "lora_alpha": 512, "target_modules": ["v_proj"]}),
    "bfloat16": AdapterKind(
        {"r": 12, "lora_alpha": 12, "target_modules": "all-linear"}, torch.bfloat16
    ),
    "float16": AdapterKind({"r": 16, "target_modules": ["v_proj", "o_proj"]}, torch.float16),
    "excluded": AdapterKind(
        {"r": 6, "target_modules": "all-linear", "exclude_modules": ["gate_proj"]}
    ),
    "head": AdapterKind({"r": 9, "target_modules": ["q_proj", "lm_head"]}),
    "embedding": AdapterKind({"r": 5, "target_modules": ["embed_tokens", "down_proj"]}),
    "both-ends": AdapterKind(
        {"r": 10, "lora_alpha": 5, "target_modules": ["embed_tokens", "lm_head"]}, torch.bfloat16
    ),
    "dora": AdapterKind({"r": 8, "use_dora": True, "target_modules": "all-linear"}),
    "dora-patterns": AdapterKind(
        {
            "r": 4,
            "use_dora": True,
            "use_rslora": True,
            "target_modules": ["q_proj", "k_proj", "up_proj", "embed_tokens", "lm_head"],
            "rank_pattern": {"k_proj": 11},
            "alpha_pattern": {"lm_head": 3},
        }
    ),
}
"""Name -> kind. Together they use every rule by which a configuration decides ranks and scales."""


def tiny_llama(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    """A Llama with grouped-query attention and random float32 weights; `changes` are config."""
    sizes: dict[str, Any] = {
        "vocab_size": 128,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**(sizes | changes)))
    model.train(False)
    return model


@dataclass(frozen=True, slots=True)
class SomeTensors:
    """The tensors of a base model that exists in a test only; most adapters want none of them."""

    named: Mapping[str, Tensor] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor | None:
        return self.named.get(name)


NO_TENSORS = SomeTensors()


def geometry_of(config: LlamaConfig) -> AdapterGeometry:
    """Where adapters may sit in such a model."""
    hidden, inner, vocab = config.hidden_size, config.intermediate_size, config.vocab_size
    assert config.head_dim and config.num_key_value_heads
    query = config.head_dim * config.num_attention_heads
    kv = config.head_dim * config.num_key_value_heads
    shapes = {
        "self_attn.q_proj": (hidden, query),
        "self_attn.k_proj": (hidden, kv),
        "self_attn.v_proj": (hidden, kv),
        "self_attn.o_proj": (query, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    of_layer = tuple(Module(path, *shape) for path, shape in shapes.items())
    embedding = Module("model.embed_tokens", vocab, hidden, is_embedding=True)
    modules = (*in_layers(config.num_hidden_layers, of_layer), embedding)
    return AdapterGeometry((*modules, Module("lm_head", hidden, vocab)), max(hidden, inner))


def save_adapter(model: PreTrainedModel, directory: Path, kind: AdapterKind, seed: int = 0) -> Path:
    """Save an adapter that changes the outputs of `model`, which itself stays as it was."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries about each other
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **kind.config))
        for layer in adapted.modules():
            if isinstance(layer, Linear | Embedding):
                _randomise(layer, kind.dtype)
        adapted.save_pretrained(str(directory))
        adapted.unload()
    return directory


def load_with_peft(model: LlamaForCausalLM, directory: Path) -> PeftModel:
    """The reference: `model` with the adapter beside its weights, not merged into them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries about each other
        return PeftModel.from_pretrained(model, str(directory))


def _randomise(layer: Linear | Embedding, dtype: torch.dtype) -> None:
    """Make B @ A * scale about as large as the base weight, whatever the rank and scale.

    With DoRA, the magnitudes too are none that the weights have by themselves.
    """
    a, b = _matrices(layer)
    base = layer.get_base_layer().weight
    assert isinstance(a, Tensor) and isinstance(b, Tensor) and isinstance(base, Tensor)
    if not a.any():  # an embedding starts with A of zeros, not B
        torch.nn.init.normal_(a)
    spread = layer.scaling["default"] * math.sqrt(min(a.shape)) * float(a.std())
    torch.nn.init.normal_(b, std=0.5 * float(base.std()) / spread)
    a.data, b.data = a.data.to(dtype), b.data.to(dtype)
    for dora in layer.lora_magnitude_vector.values():
        magnitude = dora.weight
        assert isinstance(magnitude, Tensor)
        magnitude.data.mul_(1 + 0.3 * torch.randn(magnitude.shape))


def _matrices(layer: Linear | Embedding) -> tuple[Any, Any]:
    if isinstance(layer, Embedding):
        return layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight
