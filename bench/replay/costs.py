"""What steps, copies and reads take on some machines, with the sources of each number."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from motet.engine.fake.link import LinkCost
from motet.engine.plan import Batch
from motet.errors import ConfigError
from motet.memory.costs import Costs
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from motet.memory.layout import PageLayout
from motet.memory.packing import pack

GB = 1e9


@dataclass(frozen=True, slots=True)
class Machine:
    """What a processor does, at the sizes of real steps."""

    flops: float
    """Per second."""
    memory_gbs: float
    """Gigabytes per second that a step reads of weights, KV and adapters."""
    step_s: float
    """Of each step, whatever is in it."""
    row_s: float
    """Of each row of a step."""
    adapter_s: float
    """Of each adapter that a step reads, beside its bytes."""
    link_gbs: float
    """Gigabytes per second between host and device, each way."""
    link_latency_s: float
    disk_gbs: float
    source: str


@dataclass(frozen=True, slots=True)
class Model:
    """A dense decoder."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    parameters: float
    element_bytes: int = 2

    def layout(self, page_tokens: int) -> PageLayout:
        return PageLayout(
            self.layers, page_tokens, self.kv_heads, self.head_dim, self.element_bytes
        )

    def modules(self, targets: tuple[str, ...]) -> tuple[Module, ...]:
        """Linear layers of attention by the first letter of their names."""
        inner, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {
            "q": (self.hidden, inner),
            "k": (self.hidden, kv),
            "v": (self.hidden, kv),
            "o": (inner, self.hidden),
        }
        for name in targets:
            if name[:1] not in shapes:
                raise ConfigError(
                    f"an adapter has the target '{name}': a replay knows {', '.join(shapes)}, the "
                    "linear layers of attention"
                )
        return tuple(Module(name, *shapes[name[:1]]) for name in targets)


class StepWork(NamedTuple):
    """What a step has to do, of which its time depends."""

    num_rows: int
    num_adapters: int
    flops: float
    num_bytes: float
    """Read from memory: weights, KV and adapters."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """A model on a machine."""

    model: Model
    machine: Machine

    def work(self, batch: Batch, page_bytes: int, page_tokens: int) -> StepWork:
        model = self.model
        num_tokens = num_positions = num_pairs = 0
        for row in batch.rows:
            tokens, end = len(row.tokens), row.end
            num_tokens += tokens
            num_positions += end
            num_pairs += tokens * (2 * end - tokens) // 2
        inner = model.heads * model.head_dim
        flops = 2 * model.parameters * num_tokens + 4 * model.layers * inner * num_pairs
        num_adapter_pages = sum(len(binding.pages) for binding in batch.adapters)
        num_bytes = model.element_bytes * model.parameters
        num_bytes += page_bytes * (num_positions / page_tokens + num_adapter_pages)
        return StepWork(len(batch.rows), len(batch.adapters), flops, num_bytes)

    def seconds(self, work: StepWork) -> float:
        """Of a step: what is computed, or what is read, whichever takes longer."""
        machine = self.machine
        busy_s = max(work.flops / machine.flops, work.num_bytes / (machine.memory_gbs * GB))
        overhead_s = machine.row_s * work.num_rows + machine.adapter_s * work.num_adapters
        return machine.step_s + overhead_s + busy_s

    def link(self, page_bytes: int) -> LinkCost:
        """Of copies, in chunks of 4 MiB as the copier moves them."""
        page_s = page_bytes / (self.machine.link_gbs * GB)
        return LinkCost(self.machine.link_latency_s, page_s, max(1, 2**22 // page_bytes))

    def disk(self, page_bytes: int) -> LinkCost:
        return LinkCost(self.machine.link_latency_s, page_bytes / (self.machine.disk_gbs * GB))

    def costs(self, page_bytes: int) -> Costs:
        """What the scheduler is told, as `motet tune` would measure it."""
        return Costs(
            page_copy_s=page_bytes / (self.machine.link_gbs * GB),
            copy_latency_s=self.machine.link_latency_s,
            token_s=2 * self.model.parameters / self.machine.flops,
            page_read_s=page_bytes / (self.machine.disk_gbs * GB),
        )

    def adapter_pages(self, rank: int, targets: tuple[str, ...], page_tokens: int) -> int:
        """Pages of an adapter, as the engine packs it."""
        return _adapter_pages(self.model, rank, targets, page_tokens)


@lru_cache
def _adapter_pages(model: Model, rank: int, targets: tuple[str, ...], page_tokens: int) -> int:
    layout = model.layout(page_tokens)
    modules = in_layers(model.layers, model.modules(targets))
    geometry = AdapterGeometry(modules, layout.tile_width)
    ranks = (rank,) * len(modules)
    return pack(geometry, ranks, layout.elements, layout.align_elements).num_pages


LLAMA_8B = Model(layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, parameters=8.03e9)
LLAMA_250M = Model(layers=16, hidden=1024, heads=16, kv_heads=4, head_dim=64, parameters=0.246e9)

COST_MODELS = {
    "h200-8b": CostModel(
        LLAMA_8B,
        Machine(
            flops=600e12,
            memory_gbs=3800,
            step_s=0.002,
            row_s=2e-6,
            adapter_s=0.0,
            link_gbs=50,
            link_latency_s=20e-6,
            disk_gbs=6,
            source="[calc] 989 TFLOP/s dense bf16 at 0.6, 4.8 TB/s at 0.8, PCIe 5 x16 at 0.8 of 63 "
            "GB/s, NVMe; 2 ms a step for launches and the host",
        ),
    ),
    "a100-8b": CostModel(
        LLAMA_8B,
        Machine(
            flops=190e12,
            memory_gbs=1600,
            step_s=0.003,
            row_s=2e-6,
            adapter_s=0.0,
            link_gbs=24,
            link_latency_s=20e-6,
            disk_gbs=3,
            source="[calc] 312 TFLOP/s dense bf16 at 0.6, 2.0 TB/s at 0.8, PCIe 4 x16 at 0.76 of "
            "32 GB/s, NVMe; 3 ms a step for launches and the host",
        ),
    ),
    "cpu-250m": CostModel(
        LLAMA_250M,
        Machine(
            flops=100e9,
            memory_gbs=10,
            step_s=0.002,
            row_s=1e-4,
            adapter_s=0.0,
            link_gbs=0.125,
            link_latency_s=2e-3,
            disk_gbs=1,
            source="assumed of two cores of a server, not measured",
        ),
    ),
}
