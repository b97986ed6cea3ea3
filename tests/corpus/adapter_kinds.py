"""LoRA adapters in every form that PEFT writes, and which of them can be served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import EvaConfig
from transformers import PreTrainedModel

from tests.adapter_factory import ADAPTER_KINDS as FACTORY
from tests.corpus.models import VOCAB_SIZE, Weights

ATTENTION = ["q_proj", "v_proj"]


@dataclass(frozen=True, slots=True)
class LoraKind:
    """How an adapter is trained and saved."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Of LoraConfig, over `r: 8, target_modules: ATTENTION`."""
    saving: Mapping[str, Any] = field(default_factory=dict)
    """Of `save_pretrained`."""
    edit: Mapping[str, Any] = field(default_factory=dict)
    """Fields of adapter_config.json that are changed afterwards."""
    prepare: Callable[[PreTrainedModel], None] | None = None
    """What is done to the base model before training."""
    trains_copies: bool = False
    """The modules to save were trained as well."""
    is_converted: bool = False
    """Saved as a difference from the initial adapter, for inits that change the base."""
    empties: bool = False
    """Every tensor was saved without being gathered."""
    refusal: str = ""
    """A word of the error."""
    only: Callable[[Weights], bool] = lambda weights: True
    """For which models it can be made."""
    refused_for: Callable[[Weights], bool] = lambda weights: True
    """Where `refusal` holds."""

    def refusal_for(self, weights: Weights) -> str:
        return self.refusal if self.refused_for(weights) else ""


def _resize(model: PreTrainedModel) -> None:
    model.resize_token_embeddings(VOCAB_SIZE + 8)


def _train_embeddings(model: PreTrainedModel) -> None:
    for parameter in model.get_input_embeddings().parameters():
        torch.nn.init.normal_(parameter)


def _has_biases(weights: Weights) -> bool:
    return weights.family == "qwen2"


def _keeps_its_tie(weights: Weights) -> bool:
    """PEFT parts tied factors where it casts them, and ties them again when it loads."""
    return weights.dtype == "f32" or not weights.tied


ALL = {"target_modules": "all-linear"}
DORA = {"use_dora": True}
HEAD = {"target_modules": ["q_proj", "lm_head"]}
EMBEDDING = {"target_modules": ["v_proj", "embed_tokens"]}
BOTH = {"target_modules": ["embed_tokens", "lm_head", "o_proj"]}
PATTERNS = {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"layers.1.*": 4, "v_proj": 20}}
KEEP_EMBEDDINGS = {"save_embedding_layers": True}

_SERVED = {
    **{name: LoraKind(kind.config) for name, kind in FACTORY.items()},
    "dora": LoraKind(ALL | DORA),
    "dora-attention": LoraKind(DORA),
    "dora-rank-stabilised": LoraKind(ALL | DORA | {"use_rslora": True, "r": 5, "lora_alpha": 9}),
    "dora-patterns": LoraKind(ALL | DORA | PATTERNS),
    "dora-one-layer": LoraKind(DORA | {"layers_to_transform": [1]}),
    "head": LoraKind(HEAD),
    "head-alone": LoraKind({"target_modules": ["lm_head"], "r": 3}),
    "head-rank-64": LoraKind(HEAD | {"r": 64, "use_rslora": True}),
    "embedding": LoraKind(EMBEDDING),
    "embedding-alone": LoraKind({"target_modules": ["embed_tokens"], "r": 5, "lora_alpha": 11}),
    "embedding-and-head": LoraKind(BOTH),
    "embedding-patterns": LoraKind(BOTH | {"rank_pattern": {"embed_tokens": 17, "lm_head": 2}}),
    "dora-head": LoraKind(HEAD | DORA),
    "dora-embedding": LoraKind(EMBEDDING | DORA),
    "dora-both-ends": LoraKind(BOTH | DORA | {"use_rslora": True}),
    "copies": LoraKind(saving=KEEP_EMBEDDINGS),
    "copies-and-head": LoraKind(HEAD, KEEP_EMBEDDINGS),
    "no-copies": LoraKind(HEAD, {"save_embedding_layers": False}),
    # What was saved and never trained changes nothing.
    "head-saved": LoraKind({"modules_to_save": ["lm_head"]}),
    "norm-saved": LoraKind({"modules_to_save": ["norm"]}),
    "bias-all": LoraKind({"bias": "all"}),
    "bias-lora-only": LoraKind({"bias": "lora_only"}),
    "bias-all-trained": LoraKind(
        {"bias": "all"}, trains_copies=True, refusal="bias", refused_for=_has_biases
    ),
    "pissa-converted": LoraKind({"init_lora_weights": "pissa"}, is_converted=True),
    "olora-converted": LoraKind({"init_lora_weights": "olora"}, is_converted=True),
    "pissa-converted-rslora": LoraKind(
        {"init_lora_weights": "pissa", "use_rslora": True}, is_converted=True
    ),
    "gaussian": LoraKind({"init_lora_weights": "gaussian"}),
    "orthogonal": LoraKind({"init_lora_weights": "orthogonal"}),
    "eva": LoraKind({"init_lora_weights": "eva", "eva_config": EvaConfig()}),
    "lora-ga-named": LoraKind(edit={"init_lora_weights": "lora_ga"}),
    "minor-components": LoraKind({"init_lora_weights": "mica"}),
    "uninitialised": LoraKind({"init_lora_weights": False}),
    "alpha-overlaps": LoraKind(
        {"alpha_pattern": {"q_proj": 2, "layers.0.self_attn.q_proj": 64}, "r": 4}
    ),
    "regex-patterns": LoraKind(
        ALL | {"rank_pattern": {r"model\.layers\.0\..*_proj": 2}, "alpha_pattern": {"down.*": 3}}
    ),
    "first-layer": LoraKind({"layers_to_transform": 0, "target_modules": ["q_proj", "up_proj"]}),
    "negative-alpha": LoraKind({"lora_alpha": -4}),
    "dropout": LoraKind({"lora_dropout": 0.3}),
    "tied-by-peft": LoraKind(EMBEDDING | {"ensure_weight_tying": True}, only=_keeps_its_tie),
}
_REFUSED = {
    "pissa": LoraKind({"init_lora_weights": "pissa"}, refusal="pissa"),
    "pissa-fast": LoraKind({"init_lora_weights": "pissa_niter_4"}, refusal="pissa"),
    "olora": LoraKind({"init_lora_weights": "olora"}, refusal="olora"),
    "corda-named": LoraKind(edit={"init_lora_weights": "corda"}, refusal="corda"),
    "loftq-named": LoraKind(
        edit={"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, refusal="loftq"
    ),
    "rank-overlaps": LoraKind(
        {"rank_pattern": {"q_proj": 2, "layers.0.self_attn.q_proj": 6}}, refusal="rank"
    ),
    "resized": LoraKind(prepare=_resize, refusal="replaces"),
    "trained-copies": LoraKind(
        saving=KEEP_EMBEDDINGS, prepare=_train_embeddings, refusal="replaces"
    ),
    "head-trained": LoraKind(
        {"modules_to_save": ["lm_head"]}, trains_copies=True, refusal="replaces"
    ),
    "norm-trained": LoraKind({"modules_to_save": ["norm"]}, trains_copies=True, refusal="replaces"),
    "tokens": LoraKind({"trainable_token_indices": [5, 6]}, refusal="trainable_token_indices"),
    "parameters": LoraKind(
        {"target_parameters": ["down_proj.weight"]}, refusal="target_parameters"
    ),
    "lora-bias": LoraKind({"lora_bias": True}, refusal="lora_bias"),
    "replicated": LoraKind({"layer_replication": [[0, 2], [1, 2]]}, refusal="layer_replication"),
    "activated": LoraKind({"alora_invocation_tokens": [5, 6]}, refusal="alora_invocation_tokens"),
    "block-diagonal": LoraKind(edit={"use_bdlora": {"nblocks": 2}}, refusal="use_bdlora"),
    "pooled": LoraKind(edit={"use_qalora": True}, refusal="use_qalora"),
    "arrow": LoraKind(edit={"arrow_config": {"top_k": 1}}, refusal="arrow_config"),
    "ungathered": LoraKind(empties=True, refusal="gather"),
}
LORA_KINDS = _SERVED | _REFUSED
"""Name -> kind."""
