"""`--pool-bytes` is a hard limit: adapters pass through the pool, the device does not grow."""

import gc
import json
from collections import deque
from pathlib import Path

import torch
from safetensors.torch import save_file

from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.device.local import LocalExecutor
from motet.engine.request import Request, SamplingParams
from motet.engine.start.build import build
from tests.engine.drive import turns
from tests.model_factory import make_llama

NUM_ADAPTERS = 300
POOL_BYTES = 512 * 1024
MAX_TABLE_BYTES = 128
"""What stays of each adapter that was used: rank and scale of its modules. Where its tiles lie is
the same for all of its ranks."""


def save_adapters(directory: Path) -> tuple[tuple[str, str], ...]:
    """Rank-8 adapters on the output projections, each with other weights."""
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["o_proj"]}
    named = []
    for number in range(NUM_ADAPTERS):
        path = directory / f"a{number}"
        path.mkdir()
        generator = torch.Generator().manual_seed(number)
        tensors = {
            f"base_model.model.model.layers.{layer}.self_attn.o_proj.lora_{side}.weight": (
                torch.randn(shape, generator=generator)
            )
            for layer in range(2)
            for side, shape in (("A", (8, 64)), ("B", (64, 8)))
        }
        save_file(tensors, path / "adapter_model.safetensors")
        (path / "adapter_config.json").write_text(json.dumps(config))
        named.append((path.name, str(path)))
    return tuple(named)


def live_tensor_bytes() -> int:
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    plain = [tensor.untyped_storage() for tensor in tensors if not tensor.is_mkldnn]
    packed_bytes: int = sum(t.numel() * t.element_size() for t in tensors if t.is_mkldnn)
    plain_bytes: int = sum({s.data_ptr(): s.nbytes() for s in plain}.values())
    return plain_bytes + packed_bytes


def test_300_adapters_pass_through_and_leave_next_to_nothing(tmp_path: Path) -> None:
    config = EngineConfig(
        model=str(make_llama(tmp_path / "model")),
        adapters=save_adapters(tmp_path),
        model_config=ModelConfig(device="cpu", max_model_len=128),
        pool=PoolConfig(pool_bytes=POOL_BYTES),
    )
    core = build(config, progress=lambda what, done, total: None)
    executor, adapters = core.executor, core.info.adapters
    assert isinstance(executor, LocalExecutor)
    assert executor._arena.flat.nbytes <= POOL_BYTES
    num_fitting = core.info.num_pages // adapters[0].num_pages
    assert num_fitting < NUM_ADAPTERS / 4

    def serve(number: int) -> None:
        sampling = SamplingParams(max_tokens=2, temperature=0)
        request = Request(f"{number}", (3, 4, 5), sampling, adapters[number % NUM_ADAPTERS])
        deque(turns(core, [request]), maxlen=0)

    serve(0)
    before = live_tensor_bytes()
    for number in range(1, NUM_ADAPTERS + 1):
        serve(number)
    stats = core.scheduler.stats()
    assert stats.adapter_loads == NUM_ADAPTERS + 1  # the first had been evicted meanwhile
    assert stats.adapter_page_evictions > 0
    num_bytes = live_tensor_bytes() - before
    assert num_bytes < MAX_TABLE_BYTES * NUM_ADAPTERS
