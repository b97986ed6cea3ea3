"""How an adapter came to be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Training:
    """What its files say about the training of an adapter; nothing is computed from it."""

    base_model: str | None = None
    """Name or path of the model it was trained for."""
    peft_version: str | None = None
    init: str = "default"
    """How A and B began, as PEFT names it."""
    is_rank_stabilised: bool = False
    warnings: tuple[str, ...] = ()
    """What may be wrong with the adapter, each one line."""
