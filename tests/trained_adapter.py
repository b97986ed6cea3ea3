"""Adapters as trainers leave them: every parameter that PEFT trains is moved, then saved."""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from motet import LLM, SamplingParams

PROMPT = (5, 91, 77, 215, 8, 3, 140)
NUM_TOKENS = 12


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries say about each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def base_model(directory: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.train(False)
    return model


def wrapped(base: PreTrainedModel, **config: Any) -> PeftModel:
    """The model with an adapter that nobody has trained."""
    fields: dict[str, Any] = {
        "r": 8,
        "lora_alpha": 12,
        "target_modules": ["q_proj", "v_proj"],
    } | config
    with quiet():
        return get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **fields))


def train(model: PeftModel, seed: int = 1) -> PeftModel:
    """Move every trainable parameter by about as much as it is large."""
    dice = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=dice)
    model.train(False)
    return model


def save(model: PeftModel, directory: Path, **options: Any) -> Path:
    with quiet():
        model.save_pretrained(str(directory), **options)
    return directory


def trained(base: Path, directory: Path, **config: Any) -> PeftModel:
    """An adapter of this config, trained and saved; the model that was trained."""
    model = train(wrapped(base_model(base), **config))
    save(model, directory)
    return model


def converted(base: Path, directory: Path, **config: Any) -> PeftModel:
    """The same, saved as an adapter of the unchanged base: PEFT compares it with its start."""
    start = directory.parent / f"{directory.name}-start"
    model = wrapped(base_model(base), **config)
    save(model, start)
    train(model)
    save(model, directory, path_initial_model_for_weight_conversion=str(start))
    shutil.rmtree(start)
    return model


def merged(base: Path, directory: Path, target: Path) -> Path:
    """A model with the adapter merged into its weights, saved to `target`."""
    model: Any = reloaded(base, directory)
    with quiet():
        model.merge_and_unload().save_pretrained(target)
    return target


def reloaded(base: Path, directory: Path) -> PeftModel:
    with quiet():
        return PeftModel.from_pretrained(base_model(base), str(directory)).eval()


@torch.inference_mode()
def logits(model: torch.nn.Module, tokens: Sequence[int]) -> Tensor:
    """Of each of `tokens` after the prompt: `[len(tokens), vocab_size]`."""
    ids = torch.tensor([[*PROMPT, *tokens]])
    found: Tensor = model(ids).logits[0, len(PROMPT) - 1 : -1]
    return found


def served(base: Path, adapters: Mapping[str, Path]) -> dict[str, tuple[int, ...]]:
    """What motet goes on with after the prompt, greedily: of the base ("") and of each adapter."""
    llm = LLM(
        str(base),
        {name: str(path) for name, path in adapters.items()},
        has_progress=False,
        dtype="float32",
        pool_bytes=2**24,
    )
    wish = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    names = [None, *adapters]
    answers = llm.generate([list(PROMPT)] * len(names), wish, adapter=names)
    return {
        name or "": answer.completions[0].token_ids
        for name, answer in zip(names, answers, strict=True)
    }
