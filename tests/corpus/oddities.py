"""What else real directories say, or leave out, in config.json and generation_config.json."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Oddity:
    """Changes of a directory as `save_pretrained` leaves it."""

    fields: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    generation: dict[str, Any] | None = field(default_factory=dict)
    """Fields set in generation_config.json; None: there is no such file."""
    generation_drop: tuple[str, ...] = ()
    families: tuple[str, ...] = ("llama", "mistral", "qwen2", "qwen3")
    """Those whose directories are ever found like this."""
    refusal: str = ""


CODE = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
}
END = ("eos_token_id",)

ODDITIES = {
    "plain": Oddity(),
    "architectures-null": Oddity({"architectures": None}),
    "architectures-missing": Oddity(drop=("architectures",)),
    "tokenizer-code": Oddity({"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}),
    "model-code": Oddity({"auto_map": CODE}),
    "pretraining-tp": Oddity({"pretraining_tp": 2}),
    "old-spelling-of-dtype": Oddity({"torch_dtype": "float32"}, ("dtype",)),
    "no-dtype": Oddity(drop=("dtype", "torch_dtype")),
    "head-dim-null": Oddity({"head_dim": None}, families=("llama", "mistral")),
    "unknown-fields": Oddity({"unsloth_version": "2026.1", "_name_or_path": "some/base"}),
    "ends-in-config": Oddity({"eos_token_id": [2, 7]}, generation_drop=END),
    "ends-in-generation": Oddity(drop=END, generation={"eos_token_id": [5, 9]}),
    "ends-in-both": Oddity({"eos_token_id": 2}, generation={"eos_token_id": [2, 11]}),
    "end-null": Oddity({"eos_token_id": None}, generation_drop=END),
    "no-end": Oddity(drop=END, generation_drop=END),
    "no-generation-config": Oddity(generation=None),
    "quantised": Oddity(
        {"quantization_config": {"quant_method": "gptq", "bits": 4}}, refusal="quantization_config"
    ),
}
"""Name -> oddity."""
