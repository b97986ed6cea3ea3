"""How names of tensors are wrapped by what stands around a model while it is saved."""

from collections.abc import Callable

PREFIX = "base_model.model."

Rename = Callable[[str], str]

WRAPPERS: dict[str, Rename] = {
    "plain": lambda name: name,
    "compiled": lambda name: f"_orig_mod.{name}",
    "distributed": lambda name: f"module.{name}",
    "compiled-and-distributed": lambda name: f"module._orig_mod.{name}",
    "compiled-inside": lambda name: name.replace(PREFIX, f"{PREFIX}_orig_mod."),
    "compiled-layers": lambda name: name.replace(".self_attn.", "._orig_mod.self_attn."),
    "bare": lambda name: name.removeprefix(PREFIX),
    "adapter-named": lambda name: name.replace("_A.weight", "_A.default.weight").replace(
        "_B.weight", "_B.default.weight"
    ),
}
"""Name -> renaming. None of them is a part of a module's name."""
