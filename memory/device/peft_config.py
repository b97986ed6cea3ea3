"""What an `adapter_config.json` says about an adapter, or why it cannot be served."""

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.errors import AdapterError
from motet.file_names import ADAPTER_CONFIG
from motet.memory.device.files import ADAPTER, read_json, shown
from motet.memory.device.peft_fields import fault_of, warnings_of
from motet.memory.device.peft_patterns import BadPattern, Patterns
from motet.memory.device.training import Training

MAX_PATTERNS = 4096
"""Of `rank_pattern` and `alpha_pattern`, whose keys are matched with every adapted module."""


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """The fields that decide ranks and scales, checked."""

    rank: int
    alpha: float
    use_rslora: bool
    use_dora: bool
    rank_pattern: Patterns[int]
    alpha_pattern: Patterns[float]
    modules_to_save: tuple[str, ...]
    """Layers that were saved whole."""
    training: Training

    def rank_of(self, module_path: str) -> int:
        """Raises BadPattern."""
        return self.rank_pattern.find(module_path, self.rank)

    def scale_of(self, module_path: str) -> float:
        """alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (arXiv 2312.03732). Raises
        BadPattern."""
        rank = self.rank_of(module_path)
        alpha = self.alpha_pattern.find(module_path, self.alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


def read_config(directory: Path) -> PeftConfig:
    """Read and check the configuration. Raises AdapterError naming the field and its value."""
    fields = read_json(directory / ADAPTER_CONFIG, ADAPTER)
    fault = fault_of(fields)
    if fault is not None:
        raise AdapterError(f"adapter '{directory}': {fault}")
    take = _Fields(fields, directory)
    return PeftConfig(
        rank=take.integer("r", 8),
        alpha=take.number("lora_alpha", 8),
        use_rslora=take.boolean("use_rslora"),
        use_dora=take.boolean("use_dora"),
        rank_pattern=take.pattern("rank_pattern", _is_rank, "ranks of at least 1"),
        alpha_pattern=take.pattern("alpha_pattern", _is_number, "numbers within float32"),
        modules_to_save=take.names("modules_to_save"),
        training=_training(fields),
    )


def _training(fields: dict[str, Any]) -> Training:
    init = fields.get("init_lora_weights")
    return Training(
        base_model=_text(fields.get("base_model_name_or_path")),
        peft_version=_text(fields.get("peft_version")),
        init="default" if init in (True, None) else shown(str(init)),
        is_rank_stabilised=bool(fields.get("use_rslora")),
        warnings=warnings_of(fields),
    )


def _text(value: object) -> str | None:
    return shown(str(value)) if value else None


class _Fields:
    """Typed access; a missing or null field has PEFT's default."""

    def __init__(self, fields: dict[str, Any], directory: Path) -> None:
        self._fields = fields
        self._directory = directory

    def integer(self, name: str, default: int) -> int:
        value = self._get(name, default)
        return int(self._checked(name, value, _is_rank(value), "an integer of at least 1"))

    def number(self, name: str, default: float) -> float:
        value = self._get(name, default)
        return float(self._checked(name, value, _is_number(value), "a number within float32"))

    def boolean(self, name: str) -> bool:
        value = self._get(name, False)
        return bool(self._checked(name, value, isinstance(value, bool), "true or false"))

    def names(self, name: str) -> tuple[str, ...]:
        value = self._get(name, [])
        is_right = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return tuple(self._checked(name, value, is_right, "a list of names"))

    def pattern(
        self, name: str, is_valid: Callable[[object], bool], expected: str
    ) -> Patterns[Any]:
        value = self._get(name, {})
        is_right = (
            isinstance(value, dict)
            and len(value) <= MAX_PATTERNS
            and all(is_valid(item) for item in value.values())
        )
        self._checked(name, value, is_right, f"an object of at most {MAX_PATTERNS} {expected}")
        try:
            return Patterns(name, value)
        except BadPattern as error:
            raise AdapterError(f"adapter '{self._directory}': {error}") from None

    def _get(self, name: str, default: Any) -> Any:
        value = self._fields.get(name)
        return default if value is None else value

    def _checked(self, name: str, value: Any, is_right: bool, expected: str) -> Any:
        if not is_right:
            raise AdapterError(
                f"adapter '{self._directory}': {name} in {ADAPTER_CONFIG} is "
                f"{reprlib.repr(value)}: it must be {expected}"
            )
        return value


def _is_number(value: object) -> bool:
    """Scales are applied in float32: what it cannot hold is no number here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**127


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
