"""LoRA on the embedding and on the head: token for token what PEFT computes."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from motet.engine.config import EngineConfig, PoolConfig
from motet.engine.start.blueprint import blueprint_of
from tests.adapter_factory import AdapterKind, save_adapter
from tests.model_factory import MAKERS, VOCAB_SIZE, make_tokenizer
from tests.reference import check_served

PROMPTS = [[5, 17, 300, 4, 250], [319, 3, 3, 90], [200, 144, 143, 288]]

TARGETS = {
    "head": ["lm_head"],
    "embedding": ["embed_tokens"],
    "both": ["embed_tokens", "lm_head", "v_proj"],
}
SMALL_PAGE_TOKENS = 8


def an_adapter(model: Path, directory: Path, targets: list[str], **config: Any) -> Path:
    base: Any = AutoModelForCausalLM.from_pretrained(model)
    return save_adapter(base, directory, AdapterKind({"target_modules": targets, **config}))


@pytest.mark.parametrize("is_tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("use_dora", [False, True], ids=["plain", "dora"])
def test_adapters_on_the_ends_of_a_model_say_what_peft_says(
    tmp_path: Path, targets: str, is_tied: bool, use_dora: bool
) -> None:
    model = MAKERS["LlamaForCausalLM"](tmp_path / "m", tie_word_embeddings=is_tied)
    adapter = an_adapter(model, tmp_path / "a", TARGETS[targets], r=11, use_dora=use_dora)

    check_served(model, adapter, PROMPTS)


@pytest.mark.parametrize("use_dora", [False, True], ids=["plain", "dora"])
def test_tiles_wider_than_a_page_are_split(tmp_path: Path, use_dora: bool) -> None:
    model = MAKERS["Qwen2ForCausalLM"](tmp_path / "m")
    adapter = an_adapter(model, tmp_path / "a", TARGETS["both"], r=9, use_dora=use_dora)
    config = EngineConfig(str(model), pool=PoolConfig(page_tokens=SMALL_PAGE_TOKENS))
    assert blueprint_of(config).geometry.tile_width < VOCAB_SIZE / 2  # at least three parts

    check_served(model, adapter, PROMPTS, page_tokens=SMALL_PAGE_TOKENS)


@pytest.mark.parametrize("use_dora", [False, True], ids=["plain", "dora"])
@pytest.mark.parametrize("targets", TARGETS)
def test_rows_that_pad_the_vocabulary_are_in_the_file_only(
    tmp_path: Path, targets: str, use_dora: bool
) -> None:
    model = MAKERS["LlamaForCausalLM"](tmp_path / "m", vocab_size=VOCAB_SIZE + 77)
    make_tokenizer(model)
    adapter = an_adapter(model, tmp_path / "a", TARGETS[targets], r=4, use_dora=use_dora)

    check_served(model, adapter, PROMPTS)
