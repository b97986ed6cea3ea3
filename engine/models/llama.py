"""Llama and every model of exactly its shape (arXiv:2302.13971, 2307.09288, 2407.21783)."""

from transformers import PreTrainedConfig

from motet.engine.models.traits import Traits


def traits(config: PreTrainedConfig) -> Traits:
    """Every layer sees everything; biases are an option that Llama itself does not use."""
    return Traits(
        windows=(None,) * config.num_hidden_layers,
        has_qkv_bias=config.attention_bias,
        has_output_bias=config.attention_bias,
        has_mlp_bias=config.mlp_bias,
    )
