"""The kernels in C++, for CPUs; each `.cpp` here is called from the `.py` of its name.

`library.Library.load` compiles them, and says why where it cannot.
"""

from motet.kernels.cpu.gate import silu_mul
from motet.kernels.cpu.lora import lora_expand, lora_shrink
from motet.kernels.reference import (
    add_rms_norm,
    copy_pages,
    paged_attention,
    rotate_and_write_kv,
)

__all__ = [
    "add_rms_norm",
    "copy_pages",
    "lora_expand",
    "lora_shrink",
    "paged_attention",
    "rotate_and_write_kv",
    "silu_mul",
]
