"""What the reader of an adapter may ask of the base model: single tensors of its checkpoint."""

from typing import Protocol

from torch import Tensor


class BaseTensors(Protocol):
    """The stored tensors of the model that is served, found by their names."""

    def tensor(self, name: str) -> Tensor | None:
        """The tensor as it is stored, mapped: nothing of it is read until its values are used.

        `name` is that of the model's parameter, such as `model.layers.0.self_attn.q_proj.weight`;
        where two names mean one parameter (tied embeddings), both find it. None where the model
        has no such parameter. Raises ModelError where the files of the model cannot be read.
        """
