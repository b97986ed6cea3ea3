"""What a forward pass reads: a batch as tensors, and what outlives a step."""

from dataclasses import dataclass

from torch import Tensor

from motet.kernels import AttentionBatch, Kernels, LoraBatch, LoraTables


@dataclass(frozen=True, slots=True)
class StepInputs:
    """All rows of a batch, laid out one after another."""

    token_ids: Tensor  # int64 [num_tokens]
    positions: Tensor  # int64 [num_tokens]
    attention: AttentionBatch
    lora: LoraBatch | None  # None when every row runs on the base model
    sample_index: Tensor  # int64, the token rows whose logits are wanted: first those to sample
    # from (one for each row that samples), then those before the targets of each row
    sampled_lora: LoraBatch | None  # lora of x[sample_index]


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What outlives a step on the device, and the kernels that work on it."""

    kernels: Kernels
    arena: Tensor  # engine dtype [num_pages * page_elements]
    kv: Tensor  # the same memory [num_pages, num_layers, 2, page_tokens, num_kv_heads, head_dim]
    tables: LoraTables
    shrunk: Tensor  # float32 [3, max_batch_tokens, max_rank], between LoRA shrink and expand
