"""Tiny model directories with random weights, as transformers saves them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB_SIZE = 320
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")  # ids 0, 1, 2: what Llama's config calls bos and eos

TINY: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    # Wide, so that the best token leads clearly; wider, and rounding grows past 1e-4 in a logit.
    "initializer_range": 0.15,
}


@dataclass(frozen=True, slots=True)
class Family:
    """The classes of transformers, and what makes a tiny model typical of its family."""

    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    typical: dict[str, Any] = field(default_factory=dict)


WINDOW = 11  # less than most sequences of the tests, and no multiple of any page
SOME_LAYERS = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}

FAMILIES = {
    "LlamaForCausalLM": Family(LlamaConfig, LlamaForCausalLM),
    "MistralForCausalLM": Family(MistralConfig, MistralForCausalLM, {"sliding_window": WINDOW}),
    "Qwen2ForCausalLM": Family(Qwen2Config, Qwen2ForCausalLM, SOME_LAYERS),
    "Qwen3ForCausalLM": Family(Qwen3Config, Qwen3ForCausalLM, SOME_LAYERS | {"head_dim": 32}),
}
"""Architecture -> how to make a tiny one; one line for each in the engine's MODELS."""


def make_model(
    architecture: str,
    path: Path,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = "1GB",
    **config: Any,
) -> Path:
    """Write config.json, generation_config.json and safetensors; equal arguments, equal bytes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        family = FAMILIES[architecture]
        model = family.model(family.config(**TINY | family.typical | config))
        _roughen(model)
    torch.nn.Module.to(model, dtype)
    model.save_pretrained(path, max_shard_size=max_shard_size)
    return path


MAKERS: dict[str, Callable[..., Path]] = {name: partial(make_model, name) for name in FAMILIES}

make_llama = MAKERS["LlamaForCausalLM"]


CHAT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages %}
{{- '[' + message.role + '] ' + message.content + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '[assistant] ' }}
{%- endif %}
"""
"""Takes content as text only, and any role."""


def make_tokenizer(path: Path, chat_template: str | None = None) -> Path:
    """Write a byte-level BPE tokenizer of VOCAB_SIZE tokens that puts `<s>` before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(), trainer)
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    unk, bos, eos = SPECIAL_TOKENS
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token=unk,
        bos_token=bos,
        eos_token=eos,
        chat_template=chat_template,
    )
    wrapped.save_pretrained(path)
    return path


def _roughen(model: PreTrainedModel) -> None:
    """Make norms and biases matter: they start as exact ones and zeros."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.model.norm.weight.mul_(4)  # wide apart logits: the best token leads clearly


def _sentences() -> list[str]:
    """Text with enough repetition to merge bytes, the same on every run."""
    dice = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(dice.choices(syllables, k=dice.randint(1, 3))) for _ in range(100)]
    return [" ".join(dice.choices(words, k=12)) for _ in range(200)]
