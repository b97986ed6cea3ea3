"""Runs plans in this process, one step after the other."""

import torch
from torch import Tensor

from motet.engine.device.buffers import StepBuffers
from motet.engine.device.logprobs import score
from motet.engine.device.sampler import sample
from motet.engine.device.slots import DeviceSlots
from motet.engine.models import Model
from motet.engine.models.inputs import DeviceState
from motet.engine.plan import AdapterLoad, Batch, StepPlan, StepResult
from motet.kernels import Kernels
from motet.memory.device.arena import Arena
from motet.memory.device.store import HostStore


class LocalExecutor:
    """An `Executor` on one device. Every load completes in the step that starts it.

    On CUDA copies and kernels share one stream, so their order on the host is their order on the
    device.
    """

    def __init__(
        self,
        model: Model,
        kernels: Kernels,
        arena: Arena,
        slots: DeviceSlots,
        store: HostStore,
        buffers: StepBuffers,
        shrunk: Tensor,
        *,
        poison_released: bool = False,
    ) -> None:
        """`shrunk` is that of DeviceState. `poison_released` fills dead pages with NaN."""
        self._model = model
        self._arena = arena
        self._slots = slots
        self._store = store
        self._buffers = buffers
        self._poison_released = poison_released
        self._state = DeviceState(kernels, arena.flat, arena.kv, slots.tables, shrunk)

    @torch.inference_mode()
    def execute(self, plan: StepPlan) -> StepResult:
        if self._poison_released:
            self._arena.poison(plan.released)
        for load in plan.transfers:
            self._load(load)
        for binding in plan.batch.adapters:
            self._slots.bind(binding, self._store[binding.digest])
        loaded = tuple(load.digest for load in plan.transfers)
        if not plan.batch.rows:
            return StepResult(plan.step, (), loaded)
        return self._run(plan.step, plan.batch, loaded)

    def _load(self, load: AdapterLoad) -> None:
        image = self._store[load.digest].pages
        self._state.kernels.copy_pages(self._arena.flat, image, torch.tensor(load.pages))

    def _run(self, step: int, batch: Batch, loaded: tuple[str, ...]) -> StepResult:
        inputs = self._buffers.fill(batch)
        hidden = self._model.forward(inputs, self._state)

        def logits(part: slice) -> Tensor:
            lora = self._buffers.sampled_lora(part)
            return self._model.logits(hidden[part], lora, self._state)

        sampled = [row for row in batch.rows if row.sampling is not None]
        scored = [row for row in batch.rows if row.targets is not None]
        return StepResult(
            step=step,
            tokens=sample(self._state.kernels, logits(slice(len(sampled))), sampled),
            loaded=loaded,
            scores=score(logits, len(sampled), scored),
        )
