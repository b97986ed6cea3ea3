"""How far back each layer sees, from the fields of a config that several families share."""

from transformers import PreTrainedConfig

from motet.errors import ModelError

FULL, SLIDING = "full_attention", "sliding_attention"

MAX_CONTEXT = 2**31
"""No sequence is longer, whatever the model was made for: --max-model-len is at most that."""


def sliding_window(config: PreTrainedConfig) -> int | None:
    """Positions that a query of a sliding layer sees; None where that is all there can be."""
    window = config.sliding_window
    if window is None or window >= MAX_CONTEXT:
        return None
    if window < 1:
        raise ModelError(f"sliding_window is {window}: it must be at least 1; correct config.json")
    return int(window)


def windows_by_layer_type(config: PreTrainedConfig) -> tuple[int | None, ...]:
    """By `layer_types`, which transformers derives from `max_window_layers` where it is missing."""
    windows = {FULL: None, SLIDING: sliding_window(config)}
    unknown = set(config.layer_types) - windows.keys()
    if unknown:
        raise ModelError(
            f"layer_types has '{min(unknown)}': choose a model of {FULL} and {SLIDING} only"
        )
    if SLIDING in config.layer_types and config.sliding_window is None:
        raise ModelError(
            f"layer_types has '{SLIDING}', but there is no window: set sliding_window and "
            "use_sliding_window in config.json"
        )
    return tuple(windows[layer_type] for layer_type in config.layer_types)
