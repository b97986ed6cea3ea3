"""Tiny real models: an adapter converses as it was trained, with and without a server."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import LlamaForCausalLM

from motet import LLM, SamplingParams
from motet.engine import Engine
from motet.engine.config import EngineConfig, PoolConfig
from motet.engine.start.build import build
from motet.errors import AdapterError, ConfigError
from motet.file_names import TOKENIZER_CONFIG
from motet.server.http.app import create_app
from motet.server.http.config import ServerConfig
from motet.server.text.tokenizer import Tokenizer
from motet.tokenizer_config import TEMPLATE_FILE
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.model_factory import CHAT_TEMPLATE, make_llama, make_tokenizer
from tests.prompt_files import OWN_TEMPLATE, write_files

POOL_BYTES = 2**20
MESSAGES = [{"role": "user", "content": "a b"}]
UNK = 0
SAYS_UNK: dict[str, Any] = {"logit_bias": {str(UNK): 100}, "max_tokens": 5}
"""The end of the adapter `own`, and of nobody else."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_llama(tmp_path_factory.mktemp("formats") / "tiny")
    return make_tokenizer(path, CHAT_TEMPLATE)


def an_adapter(model: Path, directory: Path, **files: Any) -> Path:
    save_adapter(LlamaForCausalLM.from_pretrained(model), directory, ADAPTER_KINDS["rank-1"])
    return write_files(directory, files)


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One that brings its own format, and one that brings none."""
    parent = tmp_path_factory.mktemp("adapters")
    files = {TEMPLATE_FILE: OWN_TEMPLATE, TOKENIZER_CONFIG: {"eos_token": "<unk>"}}
    own, plain = an_adapter(model, parent / "own", **files), an_adapter(model, parent / "plain")
    return {"own": str(own), "plain": str(plain)}


def load(model: Path, adapters: dict[str, str], **options: Any) -> LLM:
    return LLM(str(model), adapters, has_progress=False, pool_bytes=POOL_BYTES, **options)


@pytest.fixture(scope="module")
def llm(model: Path, adapters: dict[str, str]) -> LLM:
    return load(model, adapters)


def ids_of(model: Path, text: str) -> tuple[int, ...]:
    return tuple(Tokenizer.load(str(model)).encode(text, add_special_tokens=False))


def test_each_conversation_is_written_by_the_template_of_its_adapter(llm: LLM, model: Path) -> None:
    sampling = SamplingParams(max_tokens=1)
    answers = llm.chat([MESSAGES] * 3, sampling, adapter=["own", None, "plain"])
    own, base = "<user>a b<unk>", "<s>[user] a b</s>[assistant] "
    expected = [ids_of(model, text) for text in (own, base, base)]
    assert [answer.prompt_token_ids for answer in answers] == expected


def test_its_end_ends_its_answers_alone(llm: LLM) -> None:
    prompts = ["a b"] * 3
    answers = llm.generate(prompts, SamplingParams(**SAYS_UNK), adapter=["own", None, "plain"])
    ended = [(a.completions[0].finish_reason, a.completions[0].token_ids) for a in answers]
    assert ended == [("stop", (UNK,)), ("length", (UNK,) * 5), ("length", (UNK,) * 5)]
    assert answers[0].completions[0].stop_reason is None
    assert answers[0].text == ""


def test_its_end_is_masked_and_ignored_as_every_end(llm: LLM) -> None:
    least = SamplingParams(**SAYS_UNK, min_tokens=3)
    [masked] = llm.generate("a b", least, adapter="own")
    ids = masked.completions[0].token_ids
    assert (len(ids), ids[-1], UNK in ids[:3]) == (4, UNK, False)
    [ignored] = llm.generate("a b", SamplingParams(**SAYS_UNK, ignore_eos=True), adapter="own")
    assert ignored.completions[0].token_ids == (UNK,) * 5


def test_the_base_models_end_ends_its_answers_too(llm: LLM) -> None:
    says_eos = SamplingParams(logit_bias={"2": 100}, max_tokens=5)
    [answer] = llm.generate("a b", says_eos, adapter="own")
    assert (answer.completions[0].finish_reason, answer.completions[0].token_ids) == ("stop", (2,))


@pytest.mark.parametrize("name", ["own", "plain", ""])
def test_the_server_says_the_same(
    llm: LLM, model: Path, adapters: dict[str, str], name: str
) -> None:
    body = {"model": name, "messages": MESSAGES, "return_token_ids": True, "temperature": 0}
    served = asyncio.run(ask(model, adapters, body | SAYS_UNK))
    sampling = SamplingParams(temperature=0, **SAYS_UNK)
    [answer] = llm.chat(MESSAGES, sampling, adapter=name or None)
    [choice] = served["choices"]
    assert served["prompt_token_ids"] == list(answer.prompt_token_ids)
    assert choice["token_ids"] == list(answer.completions[0].token_ids)
    assert choice["finish_reason"] == answer.completions[0].finish_reason


async def ask(model: Path, adapters: dict[str, str], body: dict[str, Any]) -> Any:
    pool = PoolConfig(pool_bytes=POOL_BYTES)
    config = EngineConfig(str(model), tuple(adapters.items()), pool=pool)
    app = create_app(Engine(lambda: build(config, lambda *_: None)), ServerConfig())
    async with app.router.lifespan_context(app):
        await app.state.service.ready()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://motet") as client:
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.is_success, answer.text
            return answer.json()


def test_options_are_arguments_too(model: Path, adapters: dict[str, str], tmp_path: Path) -> None:
    write_files(tmp_path, {"other.jinja": "{{ messages[0].content }}"})
    other = str(tmp_path / "other.jinja")
    llm = load(
        model,
        adapters,
        chat_template=other,
        eos_token=["<s>"],
        adapter_chat_template={"own": "base", "plain": other},
        adapter_eos_token={"own": "base", "plain": [UNK, "7"]},
    )
    says_end = [SamplingParams(logit_bias={end: 100}, max_tokens=3) for end in ("0", "1", "7")]
    ended = {
        name: [
            llm.chat(MESSAGES, sampling, adapter=name)[0].completions[0].finish_reason
            for sampling in says_end
        ]
        for name in (None, "own", "plain")
    }
    assert ended == {
        None: ["length", "stop", "length"],
        "own": ["length", "stop", "length"],
        "plain": ["stop", "stop", "stop"],
    }
    [answer] = llm.chat(MESSAGES, SamplingParams(max_tokens=1), adapter="own")
    assert answer.prompt_token_ids == ids_of(model, "a b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chat_template": "/no/such"}, "--chat-template is '/no/such', which does not exist"),
        ({"eos_token": "<end>"}, "--eos-token has '<end>', which is no token of the model"),
        ({"eos_token": 320}, "--eos-token has '320', which is no token of the model"),
        (
            {"adapter_eos_token": {"won": 7}},
            "--adapter-eos-token is for 'won', which is no",
        ),
    ],
)
def test_what_cannot_be_given_is_refused_before_the_model_is_loaded(
    model: Path,
    adapters: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    message: str,
) -> None:
    def too_late(*_: object) -> None:
        pytest.fail("the model is loaded")

    monkeypatch.setattr("motet.llm.build", too_late)
    with pytest.raises(ConfigError, match=message):
        load(model, adapters, **options)


@pytest.mark.parametrize("files", [{TOKENIZER_CONFIG: "{"}, {TEMPLATE_FILE: "{% if %}"}])
def test_broken_files_of_an_adapter_are_refused_with_its_weights(
    model: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    broken = an_adapter(model, tmp_path / "broken", **files)
    with pytest.raises(AdapterError, match=r"is not valid JSON|cannot be compiled"):
        load(model, {"broken": str(broken)})
