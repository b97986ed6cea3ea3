"""LoRA on the embedding and on the head: token for token what PEFT computes."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from motet import LLM, SamplingParams
from tests.adapter_factory import load_with_peft
from tests.reference import check_greedy

NUM_TOKENS = 12
PROMPTS = [[5, 17, 300, 4, 250], [319, 3, 3, 90], [200, 144, 143, 288]]

ENDS = {
    "head": ["lm_head"],
    "embedding": ["embed_tokens"],
    "both": ["embed_tokens", "lm_head", "v_proj"],
}


def check(model: Path, adapter: Path, **options: Any) -> None:
    """Base and adapter rows share batches; each is judged by its own reference."""
    llm = LLM(
        str(model), {"a": str(adapter)}, has_progress=False, dtype="float32",
        pool_bytes=2**22, max_model_len=64, **options,
    )  # fmt: skip
    wish = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    names = [None, "a"] * len(PROMPTS)
    prompts = [prompt for prompt in PROMPTS for _ in range(2)]
    answers = llm.generate(prompts, wish, adapter=names)

    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = load_with_peft(base, adapter)
    for prompt, name, answer in zip(prompts, names, answers, strict=True):
        tokens = answer.completions[0].token_ids
        with torch.inference_mode():
            judge = adapted if name else adapted.unload
            ids = torch.tensor([[*prompt, *tokens]])
            if name is None:
                with adapted.disable_adapter():
                    logits = adapted(ids).logits
            else:
                logits = judge(ids).logits
        expected = logits[0, len(prompt) - 1 : -1, : llm.info.vocab_size]
        assert check_greedy(tokens, expected) == 0
