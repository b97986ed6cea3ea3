"""Qwen3 (arXiv:2505.09388): queries and keys are normed, in place of Qwen2's biases."""

from transformers import PreTrainedConfig

from motet.engine.models.traits import Traits
from motet.engine.models.windows import windows_by_layer_type


def traits(config: PreTrainedConfig) -> Traits:
    """Biases are an option that Qwen3 itself does not use; windows are as in Qwen2."""
    return Traits(
        windows=windows_by_layer_type(config),
        has_qkv_bias=config.attention_bias,
        has_output_bias=config.attention_bias,
        has_qk_norm=True,
    )
