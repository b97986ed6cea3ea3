"""What PEFT saves after training is served as it was trained, or what the refusal says works."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, LoraGAConfig, MontecloraConfig, PeftModel, VeloraConfig
from peft.tuners.lora.config import BdLoraConfig, KasaConfig
from peft.tuners.lora.loraga import preprocess_loraga
from safetensors.torch import load_file, save_file

from motet.errors import AdapterError
from tests.model_factory import MAKERS
from tests.reference import check_greedy
from tests.trained_adapter import (
    base_model,
    converted,
    logits,
    merged,
    quiet,
    reloaded,
    save,
    served,
    train,
    trained,
    wrapped,
)

Train = Callable[[Path, Path], PeftModel]
"""Trains on the base of the first directory, saves into the second; what was trained."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How an adapter is made, of which family, and of which base model."""

    config: dict[str, Any] = field(default_factory=dict)
    train: Callable[..., PeftModel] = trained
    family: str = "LlamaForCausalLM"
    is_tied: bool = False

    def make(self, path: Path) -> tuple[Path, Path, PeftModel]:
        """(base, adapter, what was trained)."""
        base = MAKERS[self.family](path / "base", tie_word_embeddings=self.is_tied)
        return base, path / "adapter", self.train(base, path / "adapter", **self.config)


def untrained_copies(base: Path, directory: Path, **config: Any) -> PeftModel:
    """LoRA is trained; what would be saved whole stays as it was."""
    model = wrapped(base_model(base), **config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    save(train(model), directory)
    return model


def with_embeddings(base: Path, directory: Path, **config: Any) -> PeftModel:
    model = train(wrapped(base_model(base), **config))
    save(model, directory, save_embedding_layers=True)
    return model


def renamed(base: Path, directory: Path, **config: Any) -> PeftModel:
    """As `state_dict()` of a compiled model spells its names."""
    model = trained(base, directory, **config)
    file = directory / "adapter_model.safetensors"
    save_file({f"_orig_mod.{name}": tensor for name, tensor in load_file(file).items()}, file)
    return model


TWO_RANKS = {"rank_pattern": {"layers.1.self_attn.q_proj": 3}, "alpha_pattern": {"v_proj": 5}}

SERVED = {
    **{
        f"{init}": Kind({"init_lora_weights": init})
        for init in (True, False, "gaussian", "eva", "orthogonal", "mica")
    },
    **{
        f"converted-{init}": Kind({"init_lora_weights": init}, converted)
        for init in ("pissa", "pissa_niter_4", "olora")
    },
    **{
        f"converted-{init}-stabilised": Kind(
            {"init_lora_weights": init, "use_rslora": True}, converted
        )
        for init in ("pissa", "olora")
    },
    **{
        f"converted-{init}-patterns": Kind({"init_lora_weights": init} | TWO_RANKS, converted)
        for init in ("pissa", "olora")
    },
    "bias-all-without-biases": Kind({"bias": "all"}),
    "bias-lora-only-without-biases": Kind({"bias": "lora_only"}),
    "untrained-biases": Kind({"bias": "all"}, untrained_copies, "Qwen2ForCausalLM"),
    "copies-of-embeddings": Kind({}, with_embeddings),
    "copies-of-tied-embeddings": Kind({}, with_embeddings, is_tied=True),
    "untrained-layers-saved-whole": Kind(
        {"modules_to_save": ["lm_head", "embed_tokens", "norm"]}, untrained_copies
    ),
    "untrained-tied-head-saved-whole": Kind(
        {"modules_to_save": ["lm_head"]}, untrained_copies, is_tied=True
    ),
    "compiled": Kind({}, renamed),
    "dora": Kind({"use_dora": True}),
    "dora-stabilised": Kind({"use_dora": True, "use_rslora": True} | TWO_RANKS),
    **{
        f"{'-and-'.join(ends)}{'-tied' * is_tied}": Kind(
            {"target_modules": ["q_proj", *ends]}, is_tied=is_tied
        )
        for ends in (["lm_head"], ["embed_tokens"], ["lm_head", "embed_tokens"])
        for is_tied in (False, True)
    },
    "adapters-tied-as-the-embeddings-are": Kind(
        {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True}, is_tied=True
    ),
    "velora": Kind({"velora_config": VeloraConfig(num_groups=8)}),
    "monteclora": Kind({"monteclora_config": MontecloraConfig()}),
}


@pytest.mark.parametrize("name", SERVED)
def test_what_was_trained_is_served(name: str, tmp_path: Path) -> None:
    base, adapter, model = SERVED[name].make(tmp_path)
    tokens = served(base, {"a": adapter})
    check_greedy(tokens["a"], logits(model, tokens["a"]))
    assert tokens["a"] != tokens[""]


def from_gradients(base: Path, directory: Path, *, is_converted: bool) -> PeftModel:
    """A LoRA-GA adapter: its start, made of gradients, is taken out of the base weights."""
    config: dict[str, Any] = {"init_lora_weights": "lora_ga", "lora_ga_config": LoraGAConfig()}
    model, ids = base_model(base), torch.arange(256).view(4, 64)
    fields = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], **config)
    with quiet():
        preprocess_loraga(model, fields, lambda: model(ids, labels=ids).loss.backward())
    tuned = wrapped(model, **config)
    start = directory.parent / "start"
    save(tuned, start)
    train(tuned)
    options = {"path_initial_model_for_weight_conversion": str(start)} if is_converted else {}
    save(tuned, directory, **options)
    return tuned


def test_lora_ga_is_served_when_it_was_converted(tmp_path: Path) -> None:
    base = MAKERS["LlamaForCausalLM"](tmp_path / "base")
    model = from_gradients(base, tmp_path / "adapter", is_converted=True)
    tokens = served(base, {"a": tmp_path / "adapter"})["a"]
    check_greedy(tokens, logits(model, tokens))


def test_lora_ga_that_was_not_converted_is_served_as_peft_loads_it(tmp_path: Path) -> None:
    """No load takes its start out of the base weights again, so this is not what was trained."""
    base = MAKERS["LlamaForCausalLM"](tmp_path / "base")
    model = from_gradients(base, tmp_path / "adapter", is_converted=False)
    tokens = served(base, {"a": tmp_path / "adapter"})["a"]
    check_greedy(tokens, logits(reloaded(base, tmp_path / "adapter"), tokens))
    with pytest.raises(AssertionError):
        check_greedy(tokens, logits(model, tokens))


MERGED = {
    "pissa": Kind({"init_lora_weights": "pissa"}),
    "pissa-stabilised-patterns": Kind(
        {"init_lora_weights": "pissa", "use_rslora": True} | TWO_RANKS
    ),
    "olora": Kind({"init_lora_weights": "olora"}),
    "kasa": Kind({"kasa_config": KasaConfig()}),
    "block-diagonal": Kind(
        {"use_bdlora": BdLoraConfig(target_modules_bd_a=["q_proj"], nblocks=2, match_strict=False)}
    ),
    "target-parameters": Kind(
        {"target_modules": [], "target_parameters": ["self_attn.q_proj.weight"]}
    ),
    "tokens": Kind({"trainable_token_indices": [5, 77]}),
    "tokens-tied": Kind({"trainable_token_indices": [5, 77]}, is_tied=True),
    "head-saved-whole": Kind({"modules_to_save": ["lm_head"]}),
    "head-saved-whole-tied": Kind({"modules_to_save": ["lm_head"]}, is_tied=True),
    "embedding-saved-whole": Kind({"modules_to_save": ["embed_tokens"]}),
    "embedding-saved-whole-tied": Kind({"modules_to_save": ["embed_tokens"]}, is_tied=True),
    "norms-saved-whole": Kind({"modules_to_save": ["norm"]}),
    "bias-all": Kind({"bias": "all"}, family="Qwen2ForCausalLM"),
    "bias-lora-only": Kind({"bias": "lora_only"}, family="Qwen2ForCausalLM"),
}


@pytest.mark.parametrize("name", MERGED)
def test_what_is_refused_is_served_when_it_is_merged_as_the_refusal_says(
    name: str, tmp_path: Path
) -> None:
    base, adapter, model = MERGED[name].make(tmp_path)
    with pytest.raises(AdapterError, match=r"merge it with PEFT's merge_and_unload\(\) and serve"):
        served(base, {"a": adapter})
    tokens = served(merged(base, adapter, tmp_path / "merged"), {})[""]
    check_greedy(tokens, logits(model, tokens))
    assert tokens != served(base, {})[""]


CONVERTED = ("pissa", "pissa_niter_4", "olora")


@pytest.mark.parametrize("init", CONVERTED)
def test_an_unconverted_adapter_is_not_what_the_base_would_make_of_it(
    init: str, tmp_path: Path
) -> None:
    base, adapter, model = Kind({"init_lora_weights": init}).make(tmp_path)
    with pytest.raises(AdapterError, match=f"'{init}'.*path_initial_model_for_weight_conversion"):
        served(base, {"a": adapter})
    config = adapter / "adapter_config.json"
    config.write_text(config.read_text().replace(f'"{init}"', "true"))
    tokens = served(base, {"a": adapter})["a"]
    with pytest.raises(AssertionError):
        check_greedy(tokens, logits(model, tokens))


def test_a_resized_vocabulary_is_served_with_the_resized_model(tmp_path: Path) -> None:
    base = MAKERS["LlamaForCausalLM"](tmp_path / "base")
    model = base_model(base)
    model.resize_token_embeddings(323)
    model.save_pretrained(tmp_path / "resized")
    tuned = train(wrapped(model))
    save(tuned, tmp_path / "adapter")  # its base's own config.json gives the new size away
    with pytest.raises(AdapterError, match=r"\(323 rows, the model has 320\): serve the resized"):
        served(base, {"a": tmp_path / "adapter"})
    tokens = served(tmp_path / "resized", {"a": tmp_path / "adapter"})["a"]
    check_greedy(tokens, logits(tuned, tokens))
