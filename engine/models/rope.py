"""Rotary position embeddings, with the frequencies exactly as transformers computes them."""

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from motet.errors import ModelError


@dataclass(frozen=True, slots=True)
class RopeSpec:
    """How far each pair of dimensions turns from one position to the next."""

    inverse_frequencies: tuple[float, ...]
    """Radians per position, float32 values, one for each two dimensions of a head."""
    attention_factor: float
    """Scales cosine and sine."""
    num_positions: int | None = None
    """From this position on the frequencies would be others; None: from none."""


class RopeTable:
    """Cosine and sine of every position below `num_positions`, in float32, then rounded."""

    def __init__(
        self, spec: RopeSpec, num_positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        positions = torch.arange(num_positions, dtype=torch.float32)
        angles = torch.outer(positions, torch.tensor(spec.inverse_frequencies))
        self._cos = (angles.cos() * spec.attention_factor).to(device, dtype)
        self._sin = (angles.sin() * spec.attention_factor).to(device, dtype)

    def at(self, positions: Tensor) -> "Rotation":
        """What one step at `positions` [num_tokens] needs: the same for every layer."""
        return Rotation(self._cos[positions], self._sin[positions])


@dataclass(frozen=True, slots=True)
class Rotation:
    """The turn of each token of a step."""

    cos: Tensor  # [num_tokens, head_dim / 2]
    sin: Tensor


def read_rope(config: PreTrainedConfig) -> RopeSpec:
    """The rotary embedding of a parsed config, whose old and new keys transformers has unified.

    Raises ModelError for a type that is not served, and what transformers raises for bad numbers.
    """
    kind = config.rope_parameters["rope_type"]
    if kind not in ROPE_TYPES:
        raise ModelError(
            f"rope_type '{kind}' is not served: choose a model with one of {', '.join(ROPE_TYPES)}"
        )
    theta = config.rope_parameters["rope_theta"]
    if not isinstance(theta, int | float):
        raise ModelError(f"rope_theta is {theta!r}: set it to a number in config.json")
    frequencies, attention_factor = ROPE_TYPES[kind](config)
    if 2 * len(frequencies) != config.head_dim:
        raise ModelError(
            f"rotary embedding covers {2 * len(frequencies)} of {config.head_dim} dimensions of a "
            "head: choose a model without partial_rotary_factor"
        )
    spec = RopeSpec(
        tuple(frequencies.tolist()),
        attention_factor,
        config.max_position_embeddings if kind == "dynamic" else None,
    )
    for number in (*spec.inverse_frequencies, spec.attention_factor):
        if not 0 < number < math.inf:
            raise ModelError(
                f"rope_parameters {reprlib.repr(config.rope_parameters)} give a frequency or "
                f"factor of {number}: correct config.json"
            )
    return spec


def context_length(config: PreTrainedConfig) -> int:
    """Positions that a parsed config promises, counted as vLLM does.

    `max_position_embeddings` is the length before it was extended where the type is linear or
    yarn, after where it is llama3. What is extended without training further, dynamically, counts
    as it is.
    """
    parameters, length = config.rope_parameters, config.max_position_embeddings
    factor = parameters.get("factor")
    if factor is None or parameters["rope_type"] not in EXTENDED_BY_FACTOR:
        return int(length)
    if parameters["rope_type"] == "yarn":
        length = parameters["original_max_position_embeddings"]
    return int(length * factor)


def _default_frequencies(config: PreTrainedConfig) -> tuple[Tensor, float]:
    """As `LlamaRotaryEmbedding.compute_default_rope_parameters`."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    return 1.0 / config.rope_parameters["rope_theta"] ** exponents, 1.0


ROPE_TYPES: dict[str, Callable[[PreTrainedConfig], tuple[Tensor, float]]] = {
    "default": _default_frequencies,
    "linear": ROPE_INIT_FUNCTIONS["linear"],
    "llama3": ROPE_INIT_FUNCTIONS["llama3"],
    "yarn": ROPE_INIT_FUNCTIONS["yarn"],
    # Equal to default within the trained length, beyond which it is not served.
    "dynamic": ROPE_INIT_FUNCTIONS["dynamic"],
}

EXTENDED_BY_FACTOR = ("linear", "yarn")
"""Rope types whose `factor` is how many times longer the context is than it was before."""
