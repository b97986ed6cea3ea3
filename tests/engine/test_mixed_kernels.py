"""Attention of one backend beside all else of another serves the same answers."""

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from motet import LLM, SamplingParams
from motet.engine.start import build
from motet.kernels import Kernels, load_kernels
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.model_factory import make_llama, make_tokenizer

PROMPTS = ["a b c", "hello", "a b c d"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Of a model, and of an adapter for it."""
    path = tmp_path_factory.mktemp("mixed")
    model: Path = make_tokenizer(make_llama(path / "model"))
    base = LlamaForCausalLM.from_pretrained(model)
    return str(model), str(save_adapter(base, path / "adapter", ADAPTER_KINDS["all-linear"]))


def test_tokens_are_the_same_whoever_brings_attention(
    directories: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, adapter = directories

    def answers(kernels: Kernels) -> list[tuple[int, ...]]:
        monkeypatch.setattr(build, "prepare_kernels", lambda *_, is_deterministic: kernels)
        llm = LLM(model, {"tuned": adapter}, pool_bytes=2**20, device="cpu")
        found = [
            llm.generate(PROMPTS, SamplingParams(temperature=0, max_tokens=20), adapter=name)
            for name in (None, "tuned")
        ]
        return [
            choice.token_ids for each in found for answer in each for choice in answer.completions
        ]

    expected = answers(load_kernels("cpu"))
    assert answers(load_kernels("cpu", attention="reference")) == expected
    assert answers(load_kernels("reference", lora="cpu")) == expected
