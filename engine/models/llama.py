"""Llama and every model of exactly its shape (arXiv:2302.13971, 2307.09288, 2407.21783)."""

from transformers import PreTrainedConfig

from motet.engine.models.traits import Traits
from motet.errors import ModelError


def traits(config: PreTrainedConfig) -> Traits:
    """Every layer sees everything; biases are an option that Llama itself does not use."""
    if config.pretraining_tp not in (None, 1):
        raise ModelError(
            f"pretraining_tp is {config.pretraining_tp}: the order of sums it asks for is not "
            "served; choose a model with 1"
        )
    return Traits(
        windows=(None,) * config.num_hidden_layers,
        has_qkv_bias=config.attention_bias,
        has_output_bias=config.attention_bias,
        has_mlp_bias=config.mlp_bias,
    )
