"""The kernels in C++, for CPUs; each `.cpp` here is called from the `.py` of its name.

`native.Library.load` compiles them, and says why where it cannot.
"""

from motet.kernels.cpu.attention import paged_attention, prepare_attention
from motet.kernels.cpu.draw import draw
from motet.kernels.cpu.gate import silu_mul
from motet.kernels.cpu.lora import lora_embed, lora_expand, lora_shrink
from motet.kernels.cpu.norm import add_rms_norm
from motet.kernels.cpu.rotary import rotate_and_write_kv

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
