"""How names of tensors are wrapped by what stands around a model while it is saved."""

import re
from collections.abc import Callable

PREFIX = "base_model.model."

Rename = Callable[[str], str]


def _with_adapter(name: str) -> str:
    """As in the state of a model that was saved by hand: the adapter's name stands inside."""
    name = re.sub(r"(\.lora_[AB]|\.lora_embedding_[AB])\b", r"\1.default", name)
    return name.replace(".lora_magnitude_vector", ".lora_magnitude_vector.default.weight")


WRAPPERS: dict[str, Rename] = {
    "plain": lambda name: name,
    "compiled": lambda name: f"_orig_mod.{name}",
    "distributed": lambda name: f"module.{name}",
    "compiled-and-distributed": lambda name: f"module._orig_mod.{name}",
    "compiled-inside": lambda name: name.replace(PREFIX, f"{PREFIX}_orig_mod."),
    "compiled-layers": lambda name: name.replace(".self_attn.", "._orig_mod.self_attn."),
    "bare": lambda name: name.removeprefix(PREFIX),
    "adapter-named": _with_adapter,
}
"""Name -> renaming. None of them is a part of a module's name."""
