"""What transformers and unmerged PEFT say: the judge of every token."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from motet import LLM, SamplingParams
from motet.engine.models import read_config
from tests.adapter_factory import ADAPTER_KINDS, load_with_peft, save_adapter
from tests.model_factory import MAKERS

MARGIN = 1e-3
"""Where the reference's two best tokens are closer than this, rounding may choose."""

MAX_EXCLUDED_SHARE = 0.05

NUM_TOKENS = 12
"""Of an answer in `check_served`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model directory, its adapters, and the model that judges them."""

    model: Path
    adapters: dict[str, Path]
    peft: PeftModel

    @torch.inference_mode()
    def logits(self, prompt: Sequence[int], tokens: Sequence[int], adapter: str | None) -> Tensor:
        """Of each of `tokens`, given all before it: fp32 `[len(tokens), vocab]`."""
        ids = torch.tensor([[*prompt, *tokens]])
        if adapter is not None:
            self.peft.set_adapter(_peft_name(adapter))
        with nullcontext() if adapter else self.peft.disable_adapter():
            logits: Tensor = self.peft(ids).logits[0, len(prompt) - 1 : -1]
        return logits


def make_reference(directory: Path, architecture: str) -> Reference:
    """A tiny model of three layers with an adapter of every kind."""
    model = MAKERS[architecture](directory / "model", num_hidden_layers=3)
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapters = {
        name: save_adapter(base, directory / name, kind, seed)
        for seed, (name, kind) in enumerate(ADAPTER_KINDS.items())
    }
    (first, path), *others = adapters.items()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries about each other
        peft = PeftModel.from_pretrained(base, str(path), adapter_name=_peft_name(first))
        for name, path in others:
            peft.load_adapter(str(path), adapter_name=_peft_name(name))
    return Reference(model, adapters, peft)


def check_served(
    model: Path, adapter: Path, prompts: Sequence[Sequence[int]], **options: Any
) -> None:
    """Assert that base and adapter rows that share batches have the tokens of their references.

    `options` are those of `LLM`; everything is computed in float32.
    """
    given: dict[str, Any] = {"pool_bytes": 2**22, "max_model_len": 64, "dtype": "float32"}
    llm = LLM(str(model), {"a": str(adapter)}, has_progress=False, **given | options)
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = load_with_peft(base, adapter)
    names = [None, "a"] * len(prompts)
    rows = [list(prompt) for prompt in prompts for _ in range(2)]
    wish = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    num_excluded = 0
    for prompt, name, answer in zip(
        rows, names, llm.generate(rows, wish, adapter=names), strict=True
    ):
        tokens = answer.completions[0].token_ids
        with torch.inference_mode(), nullcontext() if name else peft.disable_adapter():
            logits = peft(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        num_token_ids = read_config(str(model)).num_token_ids  # the others are never sampled
        num_excluded += check_greedy(tokens, logits[:, :num_token_ids])
    assert num_excluded / (len(rows) * NUM_TOKENS) < MAX_EXCLUDED_SHARE


def check_greedy(tokens: Sequence[int], logits: Tensor) -> int:
    """Assert that `tokens` are the best ones wherever the margin is not thin.

    `logits` are those of each token, given the tokens themselves before it: what a thin margin
    has chosen does not matter for what follows. Returns how many positions are excluded.
    """
    best_two = logits.topk(2).values
    is_clear = best_two[:, 0] - best_two[:, 1] >= MARGIN
    assert torch.tensor(tokens)[is_clear].tolist() == logits.argmax(-1)[is_clear].tolist()
    return len(tokens) - int(is_clear.sum())


def _peft_name(name: str) -> str:
    """PEFT makes modules of adapter names, so 'bfloat16' would clash with a method."""
    return f"adapter-{name}"
