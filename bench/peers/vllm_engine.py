"""vLLM's offline engine. Written from its documentation: not run by us yet."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from motet.bench.peers.engine import Counts, Setup, Tokens


class VllmEngine:
    """As many adapters at once as there are; otherwise the defaults."""

    def __init__(self, setup: Setup) -> None:
        self._vllm: Any = import_module("vllm")
        request: Any = import_module("vllm.lora.request").LoRARequest
        self._adapters = {
            name: request(name, number, str(path))
            for number, (name, path) in enumerate(setup.adapters.items(), start=1)
        }
        lora = {
            "enable_lora": True,
            "max_loras": len(setup.adapters),
            "max_lora_rank": setup.max_rank,
        }
        self._llm = self._vllm.LLM(
            model=str(setup.model),
            skip_tokenizer_init=True,
            dtype=setup.dtype,
            max_model_len=setup.max_model_len,
            **(lora if setup.adapters else {}),
        )
        self._prefix_hits = 0

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        sampling = self._vllm.SamplingParams(
            temperature=0, max_tokens=num_tokens, ignore_eos=True, detokenize=False
        )
        outputs = self._llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            sampling,
            lora_request=[self._adapters[name] if name else None for name in adapters],
            use_tqdm=False,
        )
        self._prefix_hits += sum(output.num_cached_tokens or 0 for output in outputs)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def counts(self) -> Counts:
        return Counts(self._prefix_hits, adapters_in_step=None)
