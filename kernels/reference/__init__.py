"""Every kernel in plain torch: the oracle of the other backends, and what serves where none is.

Speed comes only from batching.
"""

from motet.kernels.reference.attention import paged_attention, prepare_attention
from motet.kernels.reference.draw import draw
from motet.kernels.reference.elementwise import add_rms_norm, silu_mul
from motet.kernels.reference.lora import lora_embed, lora_expand, lora_shrink
from motet.kernels.reference.rotary import rotate_and_write_kv

__all__ = [
    "add_rms_norm",
    "draw",
    "lora_embed",
    "lora_expand",
    "lora_shrink",
    "paged_attention",
    "prepare_attention",
    "rotate_and_write_kv",
    "silu_mul",
]
