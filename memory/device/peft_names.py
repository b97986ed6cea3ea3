"""Names of tensors in an adapter file: what wrappers and savers put around a module's name."""

import re

WRAPPERS = {
    "_orig_mod",  # torch.compile
    "module",  # DistributedDataParallel, DataParallel, DeepSpeed
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}
"""Parts of a name that stand for no module of the model."""

PEFT_PREFIX = "base_model.model."

# Where PEFT keeps a tensor of the base model inside a layer of its own.
_KEPT = re.compile(r"\.(base_layer|original_module|modules_to_save(\.[^.]+)?)(?=\.(weight|bias)$)")
# Doubled and multi-modal prefixes name the same language model.
_DECODER = re.compile(r"((model|language_model)\.)*(?P<path>.+)")

HEAD = "lm_head."


def unwrapped(name: str) -> str:
    """The name without the parts that wrappers have put into it, and without PEFT's prefix."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    return ".".join(parts).removeprefix(PEFT_PREFIX)


def parameter_name(name: str) -> str:
    """The parameter of the base model that a tensor would be a copy of, as checkpoints name it."""
    path = _KEPT.sub("", unwrapped(name))
    found = _DECODER.fullmatch(path)
    inner = found["path"] if found else path
    return inner if inner.startswith(HEAD) else f"model.{inner}"
