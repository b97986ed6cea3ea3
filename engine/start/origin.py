"""Where an adapter comes from: what `plan` and `adapters check` say beside its size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet.memory.device.weights import AdapterWeights

MAX_NAMED = 3
"""Tensors that a line lists."""


@dataclass(frozen=True, slots=True)
class AdapterOrigin:
    """What its files say about an adapter that can be served."""

    base_model: str | None
    """Name or path of the model it was trained for."""
    peft_version: str | None
    init: str
    """How A and B began, as PEFT names it."""
    is_rank_stabilised: bool
    num_rescaled: int
    """Modules whose outputs DoRA rescales."""
    dtypes: tuple[str, ...]
    """Of its tensors."""
    skipped: tuple[str, ...]
    """Tensors that change nothing, such as copies of the base model's."""
    has_values: bool
    """Copies were compared in their values, not in their shapes only."""
    notes: tuple[str, ...]
    """What may be wrong with it, each one line."""

    def lines(self) -> Iterator[str]:
        """For people."""
        how = [f"init {self.init}"]
        how += ["rank-stabilised"] if self.is_rank_stabilised else []
        how += [f"DoRA on {self.num_rescaled:,} modules"] if self.num_rescaled else []
        version = f"PEFT {self.peft_version}" if self.peft_version else "an unnamed version of PEFT"
        yield (
            f"trained for {self.base_model or 'a model it does not name'} with {version}: "
            f"{', '.join(how)}; stored as {' and '.join(self.dtypes)}"
        )
        if self.skipped:
            why = "as they change nothing" if self.has_values else "if a start finds them equal"
            yield f"skipped, {why}: {_listed(self.skipped)}"
        yield from self.notes


def origin_of(weights: AdapterWeights, model: str) -> AdapterOrigin:
    """Of an adapter that is served with the model in the directory `model`."""
    training = weights.training
    tensors = [tensor for pair in weights.pairs.values() for tensor in (pair.a, pair.b)]
    notes = training.warnings
    if training.base_model is not None and not _is_named(model, training.base_model):
        notes = (f"the model it was trained for has another name than '{model}'", *notes)
    return AdapterOrigin(
        base_model=training.base_model,
        peft_version=training.peft_version,
        init=training.init,
        is_rank_stabilised=training.is_rank_stabilised,
        num_rescaled=len(weights.rescaled),
        dtypes=tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors})),
        skipped=weights.skipped,
        has_values=not any(tensor.is_meta for tensor in tensors),
        notes=notes,
    )


def _is_named(model: str, name: str) -> bool:
    """Whether the path of a model, perhaps a snapshot of the hub's, can be that of `name`."""
    last = name.rstrip("/").rpartition("/")[2].lower()
    paths = (Path(model), Path(model).resolve())
    # The cache of the hub calls the directory of org/name `models--org--name`.
    parts = {part.lower().rpartition("--")[2] for path in paths for part in path.parts}
    return last in parts


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
