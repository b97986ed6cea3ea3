"""What runs the plans of an engine, with all it needs on the device."""

import torch
from torch import Tensor

from motet.chat_template import check_prompt_files
from motet.engine.device.buffers import StepBuffers
from motet.engine.device.local import LocalExecutor
from motet.engine.device.slots import DeviceSlots
from motet.engine.inbox import Inbox
from motet.engine.models import Model
from motet.engine.start.blueprint import Blueprint
from motet.engine.start.threads import usable_cores
from motet.kernels import Kernels
from motet.memory.device.arena import Arena
from motet.memory.device.copier import Copier
from motet.memory.device.host_arena import HostArena
from motet.memory.device.pace import SHARE, Pace
from motet.memory.device.reader import Reader
from motet.memory.device.staging import AdapterStager
from motet.memory.device.tables import AdapterTables
from motet.memory.layout import TILE_RANKS, num_tiles


def make_executor(
    blueprint: Blueprint,
    model: Model,
    kernels: Kernels,
    stager: AdapterStager,
    num_pages: int,
    num_host_pages: int,
    inbox: Inbox,
    *,
    poison_released: bool = False,
) -> LocalExecutor:
    """With arenas of so many pages; what copies and reads report goes to `inbox`."""
    limits, layout, device = blueprint.config.batch, blueprint.layout, blueprint.device
    arena = Arena(layout, num_pages, blueprint.dtype, device)
    is_pinned = device.type == "cuda"
    host = HostArena(layout, num_host_pages, blueprint.dtype, is_pinned=is_pinned)
    tables: dict[str, AdapterTables] = {}
    pace = _pace(device)
    return LocalExecutor(
        model=model,
        kernels=kernels,
        arena=arena,
        slots=DeviceSlots(
            limits.max_batch_adapters,
            blueprint.geometry,
            limits.max_lora_rank,
            layout.elements,
            device,
        ),
        tables=tables,
        copier=Copier(arena, host, inbox, blueprint.config.pool.link_gbps),
        reader=Reader(stager, host, tables, inbox, check_prompt_files, pace),
        pace=pace,
        buffers=StepBuffers(limits, blueprint.max_model_len, layout.page_tokens, device),
        shrunk=_shrunk(blueprint),
        poison_released=poison_released,
    )


def _pace(device: torch.device) -> Pace:
    """Reads hold back where steps leave no core to them."""
    is_crowded = device.type == "cpu" and torch.get_num_threads() >= usable_cores()
    return Pace(SHARE if is_crowded else 1)


def _shrunk(blueprint: Blueprint) -> Tensor:
    """Room between LoRA shrink and expand; whole tiles of ranks, and at most three slices."""
    limits = blueprint.config.batch
    ranks = num_tiles(limits.max_lora_rank) * TILE_RANKS
    return torch.zeros(
        3, limits.max_batch_tokens, ranks, dtype=torch.float32, device=blueprint.device
    )
