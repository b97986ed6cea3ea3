"""The kernels in Triton, for GPUs; with TRITON_INTERPRET=1 they run on CPU tensors too.

Every launch asks for fused multiply-adds: whether they are the default depends on Triton's version.
"""

from motet.kernels.reference import copy_pages
from motet.kernels.triton.attention import paged_attention, write_kv
from motet.kernels.triton.lora import lora_expand, lora_shrink

__all__ = ["copy_pages", "lora_expand", "lora_shrink", "paged_attention", "write_kv"]
