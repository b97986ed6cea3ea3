"""What sets the decoder of one family apart from that of another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traits:
    """Which optional parts a decoder has, and how far its layers see."""

    windows: tuple[int | None, ...]
    """Of each layer: how many positions a query sees, its own the last; None for all up to it."""
    has_qkv_bias: bool = False
    has_output_bias: bool = False
    """Of attention."""
    has_mlp_bias: bool = False
    has_qk_norm: bool = False
    """Each head of queries and keys is normed before it is turned."""
