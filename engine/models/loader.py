"""From safetensors files into the parameters of a model, strictly: every tensor has its place."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from motet.engine.models.checkpoint import (
    ELEMENT_BYTES,
    EMBEDDING,
    HEAD,
    StoredTensor,
    list_tensors,
)
from motet.engine.models.linear import Linear, Packer
from motet.errors import ConfigError
from motet.memory.device.files import MODEL

log = logging.getLogger(__name__)

IGNORED = re.compile(r".*\.rotary_emb\.inv_freq")
"""Left in old checkpoints; computed from config.json instead."""

OF_THE_MODEL = ("model.", "lm_head.")
"""Beginnings of the names of a decoder. Others are of what was around it, such as a value head."""

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and in total."""


class Weights:
    """The parameters of a model, and which checkpoint tensor fills which part of them.

    A layer allocates its parameters here when it is built, if the headers of the files have them
    in that shape; `load` then fills them all in place and packs what linear layers read. Each
    method raises ModelError for what does not fit.
    """

    def __init__(
        self,
        directory: str,
        dtype: torch.dtype,
        device: torch.device,
        packer: Packer | None,
        *,
        is_tied: bool = False,
    ) -> None:
        self.dtype = dtype
        self.device = device
        self._packer = packer  # None: linear layers read plain weights
        self._directory = directory
        self._stored = list_tensors(Path(directory), is_tied=is_tied)
        self._targets: dict[str, Tensor] = {}
        self._twins: dict[str, str] = {}
        self._linears: list[Linear] = []

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A parameter that is one tensor of the checkpoint."""
        return self.stack([name], shape[:1], *shape[1:])

    def stack(self, names: Sequence[str], heights: Sequence[int], *columns: int) -> Tensor:
        """Tensors `[heights[i], *columns]` of the checkpoint, on top of each other."""
        for name, height in zip(names, heights, strict=True):
            self._must_be_stored(name, (height, *columns))
        stacked = torch.empty(sum(heights), *columns, dtype=self.dtype, device=self.device)
        self._targets.update(zip(names, torch.split(stacked, list(heights)), strict=True))
        return stacked

    def twin(self, name: str, of: str) -> Tensor:
        """The same parameter as `of`; a checkpoint may leave it out or store it a second time."""
        target = self._targets[of]
        if name in self._stored:
            self._must_be_stored(name, tuple(target.shape))
            self._twins[name] = of
        return target

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Linear:
        """A product with a parameter or with a part of one, packed where that can be."""
        linear = Linear(weight, bias)
        self._linears.append(linear)
        return linear

    @property
    def num_bytes(self) -> int:
        """Of the parameters made so far."""
        return sum(target.numel() * target.element_size() for target in self._targets.values())

    def check_complete(self) -> None:
        """All parameters are made: nothing else of the model may be in the checkpoint."""
        unknown = {name for name in self._unused() if name.startswith(OF_THE_MODEL)}
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise self._error(
                f"there is an unknown tensor '{min(unknown)}'{more}: "
                "the weights and config.json are of different models"
            )

    def warn_of_others(self) -> None:
        """Say in one line which tensors of the checkpoint are no part of the model."""
        others = {name for name in self._unused() if not name.startswith(OF_THE_MODEL)}
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            log.warning(
                "model '%s': tensor '%s'%s is no part of the model and has no effect",
                self._directory, min(others), more,
            )  # fmt: skip

    def load(self, progress: Progress) -> None:
        """Fill the parameters, one mapped tensor at a time, then pack the linears; only once.

        What is packed and read by nothing else takes no more memory than before, since it is
        packed one by one.
        """
        wanted = {name: self._stored[name] for name in self._stored if name in self._targets}
        done_bytes, total_bytes = 0, sum(tensor.num_bytes for tensor in wanted.values())
        for name, tensor in wanted.items():
            self._fill(self._targets[name], tensor)
            done_bytes += tensor.num_bytes
            progress(done_bytes, total_bytes)
        for name, original in self._twins.items():
            self._check_twin(self._stored[name], original)
        self._targets.clear()  # else plain weights would stay beside their packed copies
        if self._packer is not None:
            for linear in self._linears:
                linear.pack(self._packer)

    def _unused(self) -> set[str]:
        known = self._targets.keys() | self._twins.keys()
        return {name for name in self._stored.keys() - known if not IGNORED.fullmatch(name)}

    def _must_be_stored(self, name: str, shape: tuple[int, ...]) -> None:
        tensor = self._stored.get(name)
        if tensor is None:
            raise self._error(self._missing(name))
        if 0 in tensor.shape:
            raise self._error(
                f"tensor '{tensor.key}' is empty, as DeepSpeed ZeRO-3 leaves what is not gathered: "
                "save the model again with stage3_gather_16bit_weights_on_model_save"
            )
        if tensor.shape != shape:
            raise self._error(
                f"tensor '{tensor.key}' has shape {list(tensor.shape)}, config.json says "
                f"{list(shape)}: they are of different models"
            )
        if tensor.dtype not in ELEMENT_BYTES:
            raise self._error(
                f"tensor '{tensor.key}' is stored as {tensor.dtype}: "
                f"save it as one of {', '.join(ELEMENT_BYTES)}"
            )

    def _missing(self, name: str) -> str:
        if name == HEAD and EMBEDDING in self._stored:
            return (
                f"there is no tensor '{name}': if the head is the embedding, set "
                "tie_word_embeddings to true in config.json, else save the whole model again"
            )
        module, _, kind = name.rpartition(".")
        wrapped = f"{module}.base_layer.{kind}"
        longer = min((key for key in self._stored if key.endswith(f".{name}")), default="")
        if wrapped in self._stored:
            return (
                f"there is '{wrapped}' in place of tensor '{name}': an adapter was saved with the "
                "model; merge it with merge_and_unload, or save the two apart"
            )
        if longer:
            return (
                f"the prefix '{longer.removesuffix(name)}' of tensor '{longer}' is unknown: save "
                f"the language model alone, so that it is '{name}'"
            )
        return f"there is no tensor '{name}': the weights and config.json are of different models"

    def _fill(self, target: Tensor, tensor: StoredTensor) -> None:
        target.copy_(tensor.mapped())
        # Unlike isfinite(), aminmax() needs no second tensor, and costs less than the copy.
        if not torch.stack(torch.aminmax(target)).isfinite().all():
            raise self._error(
                f"tensor '{tensor.key}' holds NaN or infinity as {self.dtype}: "
                "copy it again, or choose a wider --dtype"
            )

    def _check_twin(self, tensor: StoredTensor, original: str) -> None:
        copy = tensor.mapped().to(self.device, self.dtype)
        if not torch.equal(copy, self._targets[original]):
            raise self._error(
                f"tensors '{tensor.key}' and '{self._stored[original].key}' differ: "
                "set tie_word_embeddings to false in config.json"
            )

    def _error(self, message: str) -> ConfigError:
        return MODEL.fault(Path(self._directory), message)
