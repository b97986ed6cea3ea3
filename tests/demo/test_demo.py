"""The model that comes with motet: what is served when nobody names a model."""

from pathlib import Path

import pytest

from motet import LLM, SamplingParams, demo
from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.errors import ConfigError
from motet.server.http.banner import QUESTION

CONFIGS = (ModelConfig(), PoolConfig(), BatchConfig())


def test_the_voices_are_those_that_lie_there() -> None:
    found = {path.parent for path in demo.MODEL.parent.glob("*/*/adapter_config.json")}
    assert {Path(path) for _, path in demo.voices()} == found


def test_without_a_model_the_demo_is_served_with_its_voices_and_all_adapters() -> None:
    config = demo.engine_config(None, (("mine", "/adapters/mine"),), *CONFIGS)
    assert config.model == str(demo.MODEL)
    assert config.adapters == (*demo.voices(), ("mine", "/adapters/mine"))


def test_a_model_that_is_given_never_gets_the_voices() -> None:
    adapters = (("mine", "/adapters/mine"),)
    for model in ("/models/mine", str(demo.MODEL)):
        config = demo.engine_config(model, adapters, *CONFIGS)
        assert config == EngineConfig(model, adapters, *CONFIGS)


def test_an_adapter_cannot_take_the_name_of_a_voice() -> None:
    with pytest.raises(ConfigError, match="'pirate' is given twice"):
        demo.engine_config(None, (("pirate", "/adapters/mine"),), *CONFIGS)


def test_an_installation_without_the_demo_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "MODEL", tmp_path / "town")
    with pytest.raises(ConfigError, match=r"no MODEL is given.*town.*give a MODEL"):
        demo.engine_config(None, (), *CONFIGS)


def test_llm_without_a_model_speaks_in_every_voice() -> None:
    llm = LLM(pool_bytes=64 * 2**20)
    question = [{"role": "user", "content": QUESTION}]
    names = [None, *demo.VOICE_NAMES]
    sampling = SamplingParams(temperature=0, max_tokens=32)
    answers = llm.chat([question] * len(names), sampling, adapter=names)
    assert len({answer.text for answer in answers}) == len(names)
