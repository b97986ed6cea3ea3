"""What an `adapter_config.json` says about an adapter, or why it cannot be served."""

import logging
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from motet.errors import AdapterError
from motet.memory.device.files import ADAPTER, read_json

log = logging.getLogger(__name__)

T = TypeVar("T")

CONFIG_FILE = "adapter_config.json"

MERGE = "merge it with PEFT's merge_and_unload() and serve the merged model"
RETRAIN = "train without it"

REFUSED = {
    "alora_invocation_tokens": f"activated LoRA begins at certain tokens; {RETRAIN}",
    "arrow_config": f"Arrow routes between several adapters; {RETRAIN}",
    "kasa_config": f"KaSA changes the base weights; {MERGE}",
    "layer_replication": f"it changes the layers of the base model; {RETRAIN}",
    "lora_bias": f"it adds biases to the base model; {RETRAIN}",
    "megatron_config": f"Megatron layers are split differently; {RETRAIN}",
    "target_parameters": f"it adapts parameters that are not linear layers; {MERGE}",
    "trainable_token_indices": f"it replaces token embeddings; {MERGE}",
    "use_bdlora": f"block-diagonal A and B are stored differently; {MERGE}",
    "use_qalora": f"QALoRA pools the inputs of A; {RETRAIN}",
}
"""Fields that change what an adapter computes: how, and what to do. Unset (null, false, empty) is
fine."""

UNDERSTOOD = {
    "alpha_pattern", "base_model_name_or_path", "init_lora_weights", "lora_alpha",
    "modules_to_save", "peft_type", "r", "rank_pattern", "use_dora", "use_rslora",
}  # fmt: skip

IGNORED = {
    "auto_mapping", "bias", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config",
    "lora_dropout", "lora_ga_config", "megatron_core", "monteclora_config", "peft_version",
    "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type",
    "velora_config",
}  # fmt: skip
"""Fields without effect on a trained adapter: which modules it has, its tensors say."""

HARMLESS_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Values of `init_lora_weights` that leave the base weights as they are when PEFT loads them."""

_CONVERT = "save it from its training with path_initial_model_for_weight_conversion"

CHANGES_BASE = {
    "pissa_niter": _CONVERT,  # drawn anew by every load: merging would merge something else
    "pissa": f"{_CONVERT}, or {MERGE}",
    "olora": f"{_CONVERT}, or {MERGE}",
    "corda": _CONVERT,
    "loftq": MERGE,
}
"""First part of a value of `init_lora_weights` that also takes something out of the base weights
-> what to do. A converted adapter says true."""

MAX_PATTERNS, MAX_PATTERN_LENGTH = 4096, 512
"""Of `rank_pattern` and `alpha_pattern`, whose keys are matched with every adapted module."""


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """The fields that decide ranks and scales, checked."""

    rank: int
    alpha: float
    use_rslora: bool
    use_dora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    modules_to_save: tuple[str, ...]
    """Layers that were saved whole."""
    base_model: str
    """Name of the base model it was trained for, for messages."""

    def rank_of(self, module_path: str) -> int:
        return _match(self.rank_pattern, module_path, self.rank)

    def scale_of(self, module_path: str) -> float:
        """alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (arXiv 2312.03732)."""
        rank = self.rank_of(module_path)
        alpha = _match(self.alpha_pattern, module_path, self.alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


def read_config(directory: Path) -> PeftConfig:
    """Read and check the configuration. Raises AdapterError naming the field and its value."""
    fields = read_json(directory / CONFIG_FILE, ADAPTER)
    _refuse(fields, directory)
    _warn(fields, directory)
    take = _Fields(fields, directory)
    return PeftConfig(
        rank=take.integer("r", 8),
        alpha=take.number("lora_alpha", 8),
        use_rslora=take.boolean("use_rslora"),
        use_dora=take.boolean("use_dora"),
        rank_pattern=take.pattern("rank_pattern", _is_rank, "ranks of at least 1"),
        alpha_pattern=take.pattern("alpha_pattern", _is_number, "numbers within float32"),
        modules_to_save=take.names("modules_to_save"),
        base_model=str(fields.get("base_model_name_or_path") or "a base model it does not name"),
    )


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
    ) -> dict[str, Any]:
        value = self._get(name, {})
        is_right = (
            isinstance(value, dict)
            and len(value) <= MAX_PATTERNS
            and all(is_valid(item) for item in value.values())
        )
        self._checked(name, value, is_right, f"an object of at most {MAX_PATTERNS} {expected}")
        for key in value:
            self._must_be_pattern(name, key)
        return dict(value)

    def _must_be_pattern(self, name: str, key: str) -> None:
        try:
            if len(key) > MAX_PATTERN_LENGTH:
                raise re.error(f"longer than {MAX_PATTERN_LENGTH} characters")
            re.compile(_pattern(key))
        except (re.error, OverflowError, RecursionError) as error:
            raise AdapterError(
                f"adapter '{self._directory}': {name} in {CONFIG_FILE} has the key "
                f"{reprlib.repr(key)}, which is no regular expression ({error}): correct it"
            ) from None

    def _get(self, name: str, default: Any) -> Any:
        value = self._fields.get(name)
        return default if value is None else value

    def _checked(self, name: str, value: Any, is_right: bool, expected: str) -> Any:
        if not is_right:
            raise AdapterError(
                f"adapter '{self._directory}': {name} in {CONFIG_FILE} is {reprlib.repr(value)}: "
                f"it must be {expected}"
            )
        return value


def _refuse(fields: dict[str, Any], directory: Path) -> None:
    if fields.get("peft_type") != "LORA":
        raise AdapterError(
            f"adapter '{directory}': peft_type is {reprlib.repr(fields.get('peft_type'))}: "
            "only LORA adapters are served; train one, or where its method can be merged, "
            f"{MERGE}"
        )
    for name, reason in REFUSED.items():
        if fields.get(name):
            raise AdapterError(
                f"adapter '{directory}': {name} is set to {reprlib.repr(fields[name])}: {reason}"
            )
    _refuse_changed_base(fields, directory)


def _refuse_changed_base(fields: dict[str, Any], directory: Path) -> None:
    """B and A of such an adapter are right only beside base weights that nobody has saved."""
    init = fields.get("init_lora_weights")
    if init in HARMLESS_INITS:
        return
    known = [
        remedy for start, remedy in CHANGES_BASE.items() if str(init).lower().startswith(start)
    ]
    if not known:
        raise AdapterError(
            f"adapter '{directory}': init_lora_weights is {reprlib.repr(init)}, which is unknown "
            f"and may change the base weights: {MERGE}"
        )
    remedy = known[0].removeprefix(f"{_CONVERT}, or ") if _cannot_convert(fields) else known[0]
    raise AdapterError(
        f"adapter '{directory}': init_lora_weights is {reprlib.repr(init)}: it also changed the "
        f"base weights, and was not converted when it was saved; {remedy}"
    )


def _cannot_convert(fields: dict[str, Any]) -> bool:
    """What PEFT's conversion refuses, or loses."""
    has_patterns = fields.get("rank_pattern") or fields.get("alpha_pattern")
    return bool(fields.get("use_dora") or (fields.get("use_rslora") and has_patterns))


def _warn(fields: dict[str, Any], directory: Path) -> None:
    for name in fields.keys() - REFUSED.keys() - UNDERSTOOD - IGNORED:
        if fields[name]:
            log.warning(
                "adapter '%s': field %r of %s is unknown and has no effect",
                directory, name, CONFIG_FILE,
            )  # fmt: skip


def _match(patterns: Mapping[str, T], module_path: str, default: T) -> T:
    """The value of the first pattern that fits, as `peft.utils.other.get_pattern_key` finds it."""
    for key, value in patterns.items():
        if re.match(_pattern(key), module_path):
            return value
    return default


def _pattern(key: str) -> str:
    return rf"(.*\.)?({key})$"


def _is_number(value: object) -> bool:
    """Scales are applied in float32: what it cannot hold is no number here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**127


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
