"""The model, the adapters and the memory of a live run, and its replay on a cost model."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from msgspec import Struct

from motet.bench.live.stage import LiveStage
from motet.bench.random_model import DTYPES, AdapterKind, write_adapter
from motet.bench.replay.arm import Arm
from motet.bench.replay.costs import COST_MODELS, CostModel, Model, StepWork
from motet.bench.replay.run import Run, Setting
from motet.bench.replay.stage import Stage
from motet.bench.replay.state import TraceState
from motet.bench.replay.virtual import virtual_stage
from motet.client.workloads import Trace
from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.models import ModelSpec, read_config
from motet.engine.start.build import build
from motet.memory.device.throttle import BYTES_PER_GIGABIT

HOST_RATIO = 1.5
"""Of all state."""


class Times(Struct, frozen=True, kw_only=True):
    """What an arm took, in either world."""

    makespan_s: float
    busy_s: float
    stall_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    found_share: float
    """Of the tokens that a call has in common with an earlier one of its agent."""
    loaded_bytes: int
    copies_ahead: int


@dataclass(frozen=True, slots=True)
class World:
    """A trace, and the machine that it is run on."""

    trace: Trace
    model: Path
    adapters: Path
    """Directory in which each adapter of the trace has its own."""
    cost_model: str
    """Whose machine the replay runs on; the model is the real one."""
    dtype: str
    threads: int
    pool_ratio: float
    page_tokens: int
    link_gbps: float

    @property
    def setting(self) -> Setting:
        spec = read_config(str(self.model))
        machine = replace(
            COST_MODELS[self.cost_model].machine, link_gbs=self.link_gbps * BYTES_PER_GIGABIT / 1e9
        )
        cost = CostModel(_model_of(spec, DTYPES[self.dtype].itemsize), machine)
        state = TraceState(self.trace, cost, self.page_tokens)
        least = state.largest_kv_pages + state.largest_adapter_pages  # as the engine wants it
        num_pages = max(int(self.pool_ratio * state.num_pages), 9 * least // 8)
        num_host_pages = int(HOST_RATIO * state.num_pages)
        batch = BatchConfig(max_batch_adapters=256)
        return Setting(self.trace, cost, state, self.page_tokens, num_pages, num_host_pages, batch)

    def write_adapters(self) -> None:
        """Of random weights, but as large as those of the trace."""
        modules = read_config(str(self.model)).modules
        for name, shape in self.trace.header.adapters.items():
            targets = tuple(f"{target[0]}_proj" for target in shape.targets)
            kind = AdapterKind(shape.rank, targets)
            write_adapter(self.adapters / name, modules, kind, DTYPES[self.dtype])

    def replay(self, arm: Arm) -> Times:
        """On virtual time."""
        setting = self.setting
        return _times(setting, arm, virtual_stage(setting, arm))

    def live(self, arm: Arm) -> tuple[Times, list[tuple[StepWork, float]]]:
        """On a real engine, in this process; with what each step had to do and took."""
        setting = self.setting
        stage = LiveStage(self._engine(setting, arm), setting.cost)
        return _times(setting, arm, stage), stage.executor.steps

    def _engine(self, setting: Setting, arm: Arm) -> EngineCore:
        torch.set_num_threads(self.threads)
        longest = setting.state.largest_kv_pages * self.page_tokens
        names = self.trace.header.adapters
        return build(
            EngineConfig(
                model=str(self.model),
                adapters=tuple((name, str(self.adapters / name)) for name in names),
                model_config=ModelConfig(
                    dtype=self.dtype, threads=self.threads, max_model_len=longest
                ),
                pool=PoolConfig(
                    pool_bytes=setting.num_pages * setting.page_bytes,
                    page_tokens=self.page_tokens,
                    host_bytes=setting.num_host_pages * setting.page_bytes,
                    link_gbps=self.link_gbps,
                    eviction=arm.eviction,
                    prefetch="on" if arm.prefetch else "off",
                ),
                batch=setting.batch,
            ),
            _ignore,
        )


def _times(setting: Setting, arm: Arm, stage: Stage) -> Times:
    run = Run(setting, arm, stage)
    run.go()
    stats = stage.core.scheduler.stats()
    return Times(
        makespan_s=stage.now,
        busy_s=stage.busy_s,
        stall_s=run.stall_s,
        ttft_p50_s=run.latency.quantile(0.5),
        ttft_p99_s=run.latency.quantile(0.99),
        found_share=run.num_found_tokens / max(1, run.num_expected_tokens),
        loaded_bytes=stats.loaded_pages * setting.page_bytes,
        copies_ahead=sum(run.memory.prefetcher.counters.issued.values()),
    )


def _model_of(spec: ModelSpec, element_bytes: int) -> Model:
    weights = spec.num_layers * sum(m.in_features * m.out_features for m in spec.layer_modules)
    return Model(
        layers=spec.num_layers,
        hidden=spec.hidden_size,
        heads=spec.num_heads,
        kv_heads=spec.num_kv_heads,
        head_dim=spec.head_dim,
        parameters=weights + spec.vocab_size * spec.hidden_size,
        element_bytes=element_bytes,
    )


def _ignore(stage: str, done: int, total: int) -> None:
    pass
