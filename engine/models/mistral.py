"""Mistral (arXiv:2310.06825): Llama's shape without biases, in its first version with a window."""

import reprlib

from transformers import PreTrainedConfig

from motet.engine.models.traits import Traits
from motet.engine.models.windows import FULL, SLIDING, sliding_window
from motet.errors import ModelError


def traits(config: PreTrainedConfig) -> Traits:
    """All layers see `sliding_window` positions, or everything where it is null."""
    _refuse_other_layer_types(config)
    return Traits(windows=(sliding_window(config),) * config.num_hidden_layers)


def _refuse_other_layer_types(config: PreTrainedConfig) -> None:
    """transformers ignores the field for this family, others honour it: no result is the right one.

    It does no harm where it says what holds anyway.
    """
    layer_types = getattr(config, "layer_types", None)
    expected = FULL if config.sliding_window is None else SLIDING
    if layer_types is not None and set(layer_types) != {expected}:
        raise ModelError(
            f"layer_types is {reprlib.repr(layer_types)}: all layers of this family are of type "
            f"{expected} when sliding_window is {config.sliding_window}; correct config.json"
        )
