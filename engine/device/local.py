"""Carries out plans in this process: one batch after the other, copies and reads beside them."""

import torch
from torch import Tensor

from motet.engine.device.buffers import StepBuffers
from motet.engine.device.logprobs import score
from motet.engine.device.sampler import sample
from motet.engine.device.slots import DeviceSlots
from motet.engine.models import Model
from motet.engine.models.inputs import DeviceState
from motet.engine.plan import Batch, StepResult
from motet.kernels import Kernels
from motet.memory.copy import Transfers
from motet.memory.device.arena import Arena
from motet.memory.device.copier import Copier
from motet.memory.device.pace import Pace
from motet.memory.device.reader import Reader
from motet.memory.device.tables import AdapterTables


class LocalExecutor:
    """An `Executor` on one device.

    The result of a batch is on the host before the next plan is made, and the end of a copy or read
    is told when its pages are there: whatever is on its way touches no page of a batch.
    """

    def __init__(
        self,
        model: Model,
        kernels: Kernels,
        arena: Arena,
        slots: DeviceSlots,
        tables: dict[str, AdapterTables],
        copier: Copier,
        reader: Reader,
        pace: Pace,
        buffers: StepBuffers,
        shrunk: Tensor,
        *,
        poison_released: bool = False,
    ) -> None:
        """`tables` are those that `reader` fills, by digest, `shrunk` is that of DeviceState, and
        `pace` that of `reader`.
        `poison_released` fills dead pages with NaN."""
        self._model = model
        self._arena = arena
        self._slots = slots
        self._tables = tables
        self._copier = copier
        self._reader = reader
        self._pace = pace
        self._buffers = buffers
        self._poison_released = poison_released
        self._state = DeviceState(kernels, arena.flat, arena.kv, slots.tables, shrunk)

    def begin(self, transfers: Transfers) -> None:
        if self._poison_released:
            self._arena.poison(transfers.released)
        for digest in transfers.forgotten:
            self._tables.pop(digest, None)  # none where it has been listed and never read
        if transfers.copies:
            self._copier.begin(transfers.copies)
        for read in transfers.reads:
            self._reader.begin(read)
        self._copier.hurry(transfers.hurried)
        for ticket in transfers.cancelled:
            if not self._reader.cancel(ticket):
                self._copier.cancel(ticket)

    def execute(self, batch: Batch) -> StepResult:
        with self._pace.computing():
            return self._run(batch)

    @torch.inference_mode()
    def _run(self, batch: Batch) -> StepResult:
        for binding in batch.adapters:
            self._slots.bind(binding, self._tables[binding.digest])
        inputs = self._buffers.fill(batch)
        hidden = self._model.forward(inputs, self._state)

        def logits(part: slice) -> Tensor:
            lora = self._buffers.sampled_lora(part)
            return self._model.logits(hidden[part], lora, self._state)

        sampled = [row for row in batch.rows if row.sampling is not None]
        scored = [row for row in batch.rows if row.targets is not None]
        return StepResult(
            step=batch.step,
            tokens=sample(self._state.kernels, logits(slice(len(sampled))), sampled),
            scores=score(logits, len(sampled), scored),
        )
