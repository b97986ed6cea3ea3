"""The model that comes with motet: its voices hold, and transformers reads it as it is."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from motet import LLM, SamplingParams, demo
from motet.demo.make.check import (
    LEAST_OF_VOICE,
    MOST_OF_BASE,
    SHIPPED,
    Prompt,
    Shares,
    chat_prompts,
    load,
    measure,
    single_prompts,
)
from motet.demo.make.context import losses_by_position
from motet.demo.make.tokenizer import MAX_TOKENS
from motet.demo.make.voices import VOICES
from tests.adapter_factory import load_with_peft
from tests.reference import check_greedy

FAR_LOSS = 1.3
"""Of answers behind thousands of tokens; without training on far positions it is above 2."""

LEAST_NAMES = 0.6
"""Share of prompts whose name comes back."""


@pytest.fixture(scope="module")
def llm() -> LLM:
    return load(SHIPPED)


@pytest.fixture(scope="module")
def single(llm: LLM) -> Shares:
    return measure(llm, single_prompts())


@pytest.fixture(scope="module")
def chats(llm: LLM) -> Shares:
    return measure(llm, chat_prompts())


@pytest.mark.parametrize("name", VOICES)
@pytest.mark.parametrize("prompts", ["single", "chats"])
def test_a_voice_is_heard_in_its_answers_and_not_in_those_of_base(
    name: str, prompts: str, request: pytest.FixtureRequest
) -> None:
    shares: Shares = request.getfixturevalue(prompts)
    assert shares.voice[name] >= LEAST_OF_VOICE
    assert shares.base[name] <= MOST_OF_BASE


def test_names_that_the_model_has_never_read_come_back(single: Shares, chats: Shares) -> None:
    assert single.names >= LEAST_NAMES
    assert chats.names >= LEAST_NAMES


@pytest.fixture(scope="module")
def exact() -> LLM:
    """In float32: rounding to bfloat16 chooses otherwise where two tokens are nearly as likely."""
    return LLM(dtype="float32", pool_bytes=2**26)


@pytest.mark.parametrize("adapter", [None, *VOICES])
def test_transformers_and_peft_read_what_is_shipped_and_say_the_same(
    exact: LLM, adapter: str | None
) -> None:
    prompts = single_prompts()[:3]
    answers = exact.chat(
        [prompt.messages for prompt in prompts],
        SamplingParams(temperature=0, max_tokens=40),
        adapter=adapter,
    )
    model: Any = AutoModelForCausalLM.from_pretrained(SHIPPED / "town", dtype=torch.float32)
    if adapter is not None:
        model = load_with_peft(model, SHIPPED / "voices" / adapter)
    num_excluded = 0
    for answer in answers:
        prompt, tokens = answer.prompt_token_ids, answer.completions[0].token_ids
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        num_excluded += check_greedy(tokens, logits)
    num_tokens = sum(len(answer.completions[0].token_ids) for answer in answers)
    assert num_excluded < num_tokens / 2  # one thin margin ends the comparison of an answer


def test_the_tokenizer_of_transformers_renders_chats_as_motet_does(llm: LLM) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED / "town")
    prompts: list[Prompt] = chat_prompts()[:5]
    answers = llm.chat([p.messages for p in prompts], SamplingParams(max_tokens=1))
    for prompt, answer in zip(prompts, answers, strict=True):
        rendered = tokenizer.apply_chat_template(
            list(prompt.messages), add_generation_prompt=True, return_dict=False
        )
        assert list(answer.prompt_token_ids) == rendered


def test_answers_are_likely_up_to_the_end_of_the_context() -> None:
    losses = losses_by_position(SHIPPED)
    (_, end), loss = max(losses.items())
    assert end == MAX_TOKENS
    assert loss < FAR_LOSS


def test_what_is_shipped_is_plain() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file() and path.suffix != ".py"]
    shipped = [path for path in files if "__pycache__" not in path.parts]
    assert {path.suffix for path in shipped} <= {".json", ".jinja", ".safetensors"}
    model: Any = LlamaForCausalLM.from_pretrained(SHIPPED / "town")
    assert model.dtype == torch.bfloat16
    assert 2e6 <= model.num_parameters() <= 4e6
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert model.config.max_position_embeddings >= 4096


def test_the_voices_that_are_served_are_those_that_were_made() -> None:
    assert set(demo.VOICE_NAMES) == set(VOICES)
