"""Which fields of an `adapter_config.json` change what an adapter computes, and which do not."""

import reprlib
from collections.abc import Mapping
from typing import Any

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


def fault_of(fields: Mapping[str, Any]) -> str | None:
    """Why an adapter with these fields cannot be served, and what to do; None where it can."""
    if fields.get("peft_type") != "LORA":
        return (
            f"peft_type is {reprlib.repr(fields.get('peft_type'))}: only LORA adapters are served; "
            f"train one, or where its method can be merged, {MERGE}"
        )
    for name, reason in REFUSED.items():
        if fields.get(name):
            return f"{name} is set to {reprlib.repr(fields[name])}: {reason}"
    return _fault_of_init(fields)


def _fault_of_init(fields: Mapping[str, Any]) -> str | None:
    """B and A may be right only beside base weights that nobody has saved."""
    init = fields.get("init_lora_weights")
    if init in HARMLESS_INITS:
        return None
    known = [
        remedy for start, remedy in CHANGES_BASE.items() if str(init).lower().startswith(start)
    ]
    if not known:
        return (
            f"init_lora_weights is {reprlib.repr(init)}, which is unknown and may change the base "
            f"weights: {MERGE}"
        )
    remedy = known[0].removeprefix(f"{_CONVERT}, or ") if _cannot_convert(fields) else known[0]
    return (
        f"init_lora_weights is {reprlib.repr(init)}: it also changed the base weights, and was not "
        f"converted when it was saved; {remedy}"
    )


def _cannot_convert(fields: Mapping[str, Any]) -> bool:
    """What PEFT's conversion refuses, or loses."""
    has_patterns = fields.get("rank_pattern") or fields.get("alpha_pattern")
    return bool(fields.get("use_dora") or (fields.get("use_rslora") and has_patterns))


def warnings_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """What may be wrong with an adapter that is served, each one line."""
    unknown = sorted(fields.keys() - REFUSED.keys() - UNDERSTOOD - IGNORED)
    warnings = [
        f"its field {name!r} is unknown and has no effect" for name in unknown if fields[name]
    ]
    if fields.get("init_lora_weights") == "lora_ga":
        warnings.append(
            "init_lora_weights is 'lora_ga': if it began from gradients, what it computes here and "
            f"in PEFT is not what was trained; {_CONVERT}"
        )
    return tuple(warnings)
