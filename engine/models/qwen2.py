"""Qwen2 and Qwen2.5 (arXiv:2407.10671, 2412.15115): biases on queries, keys and values only."""

from transformers import PreTrainedConfig

from motet.engine.models.traits import Traits
from motet.engine.models.windows import windows_by_layer_type


def traits(config: PreTrainedConfig) -> Traits:
    """The biases are no option of this family; a window is, and of some layers only."""
    return Traits(windows=windows_by_layer_type(config), has_qkv_bias=True)
