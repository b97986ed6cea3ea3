"""The parts decoders are made of; parameters come from `Weights`, everything else as arguments."""

from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from motet.engine.device.inputs import DeviceState, StepInputs
from motet.engine.models.loader import Weights
from motet.memory.layout import AdapterGeometry


class RMSNorm:
    """Root mean square norm in float32 (arXiv:1910.07467), rounded as transformers does."""

    def __init__(self, weights: Weights, path: str, size: int, epsilon: float) -> None:
        self._weight = weights.tensor(f"{path}.weight", size)
        self._epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._epsilon)
        return self._weight * (wide * scale).to(x.dtype)


class LoraLinear:
    """Linear layers that read the same input, as one matrix, plus each row's adapter.

    `names` are consecutive modules of the geometry; their outputs lie side by side.
    """

    def __init__(
        self, weights: Weights, geometry: AdapterGeometry, layer: int, path: str,
        names: tuple[str, ...], *, has_bias: bool,
    ) -> None:  # fmt: skip
        self._layer = layer
        self._first_module = [module.name for module in geometry.modules].index(names[0])
        modules = geometry.modules[self._first_module :][: len(names)]
        widths = [module.out_features for module in modules]
        self._out_start = tuple(accumulate(widths, initial=0))
        self._weight = weights.stack(
            [f"{path}.{name}.weight" for name in names], widths, modules[0].in_features
        )
        self._bias = (
            weights.stack([f"{path}.{name}.bias" for name in names], widths) if has_bias else None
        )

    def forward(self, x: Tensor, inputs: StepInputs, state: DeviceState) -> Tensor:
        """From `[num_tokens, in_features]` to the outputs of all modules, `[num_tokens, sum]`."""
        y = functional.linear(x, self._weight, self._bias)
        if inputs.lora is not None:
            at = (state.arena, state.tables, inputs.lora, self._layer, self._first_module)
            mid = state.mid[: len(self._out_start) - 1, : len(inputs.lora.row_index)]
            state.kernels.lora_shrink(mid, x, *at)
            state.kernels.lora_expand(y, mid, *at, self._out_start)
        return y


class GatedMLP:
    """down(silu(gate(x)) * up(x)) (arXiv:2002.05202)."""

    def __init__(
        self, weights: Weights, geometry: AdapterGeometry, layer: int, path: str, *, has_bias: bool
    ) -> None:
        at = (weights, geometry, layer, path)
        self._gate_up = LoraLinear(*at, ("gate_proj", "up_proj"), has_bias=has_bias)
        self._down = LoraLinear(*at, ("down_proj",), has_bias=has_bias)

    def forward(self, x: Tensor, inputs: StepInputs, state: DeviceState) -> Tensor:
        gate, up = self._gate_up.forward(x, inputs, state).chunk(2, dim=-1)
        return self._down.forward(functional.silu(gate) * up, inputs, state)
