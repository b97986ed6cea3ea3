"""SGLang's offline engine. Written from its documentation: not run by us yet."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from motet.bench.peers.engine import Counts, Setup, Tokens


class SglangEngine:
    """As many adapters at once as there are; otherwise the defaults."""

    def __init__(self, setup: Setup) -> None:
        lora = {
            "enable_lora": True,
            "lora_paths": [f"{name}={path}" for name, path in setup.adapters.items()],
            "max_loras_per_batch": len(setup.adapters),
        }
        sglang: Any = import_module("sglang")
        self._engine = sglang.Engine(
            model_path=str(setup.model),
            skip_tokenizer_init=True,
            dtype=setup.dtype,
            device=setup.device,
            context_length=setup.max_model_len,
            **(lora if setup.adapters else {}),
        )
        self._prefix_hits = 0

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        outputs = self._engine.generate(
            input_ids=prompts,
            sampling_params={"temperature": 0, "max_new_tokens": num_tokens, "ignore_eos": True},
            lora_path=list(adapters) if any(adapters) else None,
        )
        self._prefix_hits += sum(output["meta_info"]["cached_tokens"] for output in outputs)
        return [output["output_ids"] for output in outputs]

    def counts(self) -> Counts:
        return Counts(self._prefix_hits, adapters_in_step=None)
