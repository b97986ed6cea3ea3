"""How much memory a step takes beside weights and pool, measured by one at the limits."""

import gc

import torch
from msgspec.structs import replace

from motet.engine.inbox import Inbox
from motet.engine.models import Model
from motet.engine.plan import BASE_SLOT, Batch, PromptTargets, Row
from motet.engine.request import SamplingParams
from motet.engine.start.blueprint import Blueprint
from motet.engine.start.executor import make_executor
from motet.kernels import Kernels
from motet.memory.device.staging import AdapterStager
from motet.memory.page import PageId


def step_bytes(blueprint: Blueprint, model: Model, kernels: Kernels, stager: AdapterStager) -> int:
    """Most bytes, on a CUDA device."""
    device = blueprint.device
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    executor = make_executor(
        blueprint, model, kernels, stager, num_pages=1, num_host_pages=0, inbox=Inbox()
    )
    executor.execute(batch_at_the_limits(blueprint))
    peak = torch.cuda.max_memory_allocated(device) - before
    gc.collect()
    torch.cuda.empty_cache()
    return peak


def batch_at_the_limits(blueprint: Blueprint) -> Batch:
    """As many rows and tokens as a step may have, every one reported; all use page 0."""
    limits = blueprint.config.batch
    num_rows = min(limits.max_batch_rows, limits.max_batch_tokens)
    length = min(limits.max_batch_tokens // num_rows, blueprint.max_model_len)
    pages = (PageId(0),) * -(-length // blueprint.layout.page_tokens)
    row = Row(
        request_id="0",
        tokens=(0,) * length,
        start=0,
        pages=pages,
        slot=BASE_SLOT,
        sampling=SamplingParams(max_tokens=1, top_p=0.5, num_logprobs=0),
        num_generated=0,
        targets=PromptTargets(1, (0,) * length, num_logprobs=1),
    )
    rows = tuple(replace(row, request_id=str(index)) for index in range(num_rows))
    return Batch(step=1, rows=rows, adapters=())
