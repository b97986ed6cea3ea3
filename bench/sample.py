"""Something to serve: a small Llama with random weights and adapters for it, from a seed.

Run as `python -m motet.bench.sample DIRECTORY`. It writes `DIRECTORY/model`, whose tokenizer has a
token for each byte and a chat template, and `DIRECTORY/a8`, `a16`, ...: an adapter of each rank on
every linear layer.
"""

import argparse
import json
import string
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

RANKS = (8, 16, 32, 64)
END_OF_TEXT = "<|end|>"

LETTERS = string.ascii_lowercase
SPACE = "Ġ"  # as byte-level tokenizers write it
CHAT_TEMPLATE = """\
{% for message in messages %}
{{ message.role }}
{{ message.content }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
assistant
{% endif %}
"""


def write_sample(directory: Path) -> None:
    """Write the model and its adapters. Files of an earlier sample are replaced by equal ones."""
    if not sys.stderr.isatty():
        disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    _babble(model, tokenizer)
    model.save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    for rank in RANKS:
        _write_adapter(directory / f"a{rank}", model, rank)


def _babble(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make letters far likelier than other bytes: what comes out makes no sense, but is text."""
    ids = tokenizer.convert_tokens_to_ids([*LETTERS, SPACE])
    with torch.no_grad():
        kept = model.lm_head.weight[ids] * 24
        model.lm_head.weight.zero_()[ids] = kept


def byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, chat_template=CHAT_TEMPLATE
    )


def _write_adapter(directory: Path, model: LlamaForCausalLM, rank: int) -> None:
    """PEFT's format: A and B of each linear layer, and the config that says how to apply them."""
    linears = {
        name: module
        for name, module in model.model.named_modules(prefix="base_model.model.model")
        if isinstance(module, torch.nn.Linear)
    }
    tensors: dict[str, Tensor] = {}
    for name, linear in linears.items():
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, linear.in_features) * 0.02
        tensors[f"{name}.lora_B.weight"] = torch.randn(linear.out_features, rank) * 0.02
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": sorted({name.rpartition(".")[2] for name in linears}),
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, directory / "adapter_model.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m motet.bench.sample")
    parser.add_argument("directory", type=Path)
    write_sample(parser.parse_args().directory)
