"""The kernels in Triton, for GPUs; with TRITON_INTERPRET=1 they run on CPU tensors too.

Every launch asks for fused multiply-adds: whether they are the default depends on Triton's version.
"""

from motet.kernels.triton.attention import paged_attention, prepare_attention, rotate_and_write_kv
from motet.kernels.triton.lora import lora_embed, lora_expand, lora_shrink

__all__ = [
    "lora_embed",
    "lora_expand",
    "lora_shrink",
    "paged_attention",
    "prepare_attention",
    "rotate_and_write_kv",
]
