"""Over HTTP: requests on an adapter are written, and end, as it was trained."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from motet.engine import AdapterMirror, Engine, EngineInfo
from motet.engine.core import EngineCore
from motet.errors import ConfigError
from motet.file_names import TOKENIZER_CONFIG
from motet.server.app import create_app
from motet.server.http.banner import banner
from motet.server.text.formats import MAX_WARNED, PromptFormats, load_formats
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats
from motet.server.text.selection import Names
from motet.server.text.served import Served
from motet.server.text.tokenizer import Tokenizer
from motet.tokenizer_config import TEMPLATE_FILE
from tests.engine.factories import an_adapter
from tests.model_factory import CHAT_TEMPLATE, make_tokenizer
from tests.prompt_files import OWN_TEMPLATE, write_files
from tests.server.scripted import ScriptedCore, a_config, an_info, connect, says

pytestmark = pytest.mark.anyio

EOS, UNK = 2, 0
MESSAGES = [{"role": "user", "content": "a b"}]
TEXTS = {
    "base": "<s>[user] a b</s>[assistant] ",
    "own": "<user>a b<unk>",
    "base:own": "<user>a b<unk>",
    "plain": "<s>[user] a b</s>[assistant] ",
}
"""Name -> what its template makes of the messages."""


@pytest.fixture
def info(tmp_path: Path) -> EngineInfo:
    """A model with one adapter that brings its own format and one that brings none."""
    model = make_tokenizer(tmp_path / "model", CHAT_TEMPLATE)
    files = {TEMPLATE_FILE: OWN_TEMPLATE, TOKENIZER_CONFIG: {"eos_token": "<unk>"}}
    own = write_files(tmp_path / "own", files)
    paths = {"own": str(own), "plain": str(tmp_path / "plain")}
    adapters = tuple(replace(an_adapter(name), path=path) for name, path in paths.items())
    return an_info(model, adapters=adapters)


@pytest.fixture
def core(info: EngineInfo) -> ScriptedCore:
    return ScriptedCore(says(100), info)


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[httpx.AsyncClient]:
    async with serving_as_loaded(core) as client:
        yield client


@asynccontextmanager
async def serving_as_loaded(
    core: ScriptedCore, given: GivenFormats = NOTHING_GIVEN
) -> AsyncIterator[httpx.AsyncClient]:
    """A server with the formats that its directories have."""
    app = create_app(Engine(lambda: cast(EngineCore, core)), a_config(), given)
    async with app.router.lifespan_context(app):
        await app.state.service.ready()
        async with connect(app) as client:
            yield client


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("model", TEXTS)
async def test_a_conversation_is_written_as_the_named_one_was_trained(
    client: httpx.AsyncClient, core: ScriptedCore, tokenizer: Tokenizer, model: str
) -> None:
    await post(client, "/v1/chat/completions", model=model, messages=MESSAGES)
    said = await post(client, "/tokenize", model=model, messages=MESSAGES)
    [request] = core.requests
    expected = tokenizer.encode(TEXTS[model], add_special_tokens=False)
    assert list(request.prompt) == said["tokens"] == expected


@pytest.mark.parametrize("alias", ["lora_path", "adapter_id"])
async def test_an_alias_names_the_template_too(
    client: httpx.AsyncClient, core: ScriptedCore, tokenizer: Tokenizer, alias: str
) -> None:
    await post(client, "/v1/chat/completions", **{alias: "own"}, messages=MESSAGES)
    [request] = core.requests
    assert list(request.prompt) == tokenizer.encode(TEXTS["own"], add_special_tokens=False)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("model", "ends"), [("base", (EOS,)), ("plain", (EOS,)), ("own", (EOS, UNK))]
)
async def test_an_answer_ends_as_the_named_one_was_trained(
    client: httpx.AsyncClient, core: ScriptedCore, path: str, model: str, ends: tuple[int, ...]
) -> None:
    prompt: dict[str, Any] = {"messages": MESSAGES} if "chat" in path else {"prompt": "a"}
    for fields in ({}, {"stop_token_ids": [7]}, {"ignore_eos": True}):
        await post(client, path, model=model, **prompt, **fields)
    stops = [request.sampling.stop_token_ids for request in core.requests]
    assert stops == [ends, (*ends, 7), ()]


async def test_variables_are_those_of_its_own_template(
    info: EngineInfo, core: ScriptedCore
) -> None:
    [own, _] = info.adapters
    write_files(Path(own.path), {TEMPLATE_FILE: "{{ mood }}{{ messages[0].content }}"})
    async with serving_as_loaded(core) as client:
        kwargs = {"chat_template_kwargs": {"mood": "so "}, "messages": MESSAGES}
        await post(client, "/v1/chat/completions", model="own", **kwargs)
        refused = await client.post("/v1/chat/completions", json={"model": "base", **kwargs})
    assert (refused.status_code, len(core.requests)) == (400, 1)


async def test_an_adapter_may_converse_where_the_base_cannot(
    info: EngineInfo, core: ScriptedCore
) -> None:
    (Path(info.model) / TEMPLATE_FILE).unlink()
    async with serving_as_loaded(core) as client:
        await post(client, "/v1/chat/completions", model="own", messages=MESSAGES)
        for model in ("base", "plain"):
            body = {"model": model, "messages": MESSAGES}
            refused = await client.post("/v1/chat/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                400,
                "no_chat_template",
            )


async def test_what_the_operator_gives_is_served(core: ScriptedCore, tokenizer: Tokenizer) -> None:
    given = GivenFormats("{{ messages[0].content }}", ("7",), {"own": None}, {"own": ("<s>",)})
    async with serving_as_loaded(core, given) as client:
        for model in ("base", "own"):
            await post(client, "/v1/chat/completions", model=model, messages=MESSAGES)
    assert [request.sampling.stop_token_ids for request in core.requests] == [(EOS, 7), (EOS, 7, 1)]
    for request in core.requests:
        assert list(request.prompt) == tokenizer.encode("a b", add_special_tokens=False)


@pytest.mark.parametrize("given", [GivenFormats(eos_tokens=("<end>",)), NOTHING_GIVEN])
async def test_what_cannot_be_used_ends_the_start(
    info: EngineInfo, core: ScriptedCore, given: GivenFormats
) -> None:
    if given == NOTHING_GIVEN:
        write_files(Path(info.adapters[0].path), {TOKENIZER_CONFIG: "{"})
    with pytest.raises(ConfigError, match=r"<end>|tokenizer_config\.json is not valid JSON"):
        async with serving_as_loaded(core, given):
            pass


def faulty(tmp_path: Path, num_adapters: int, model: Path) -> EngineInfo:
    files = {TOKENIZER_CONFIG: {"eos_token": "<end>"}}
    path = str(write_files(tmp_path / "faulty", files))
    names = [f"v{number}" for number in range(num_adapters)]
    return an_info(model, adapters=tuple(replace(an_adapter(name), path=path) for name in names))


@pytest.mark.parametrize(("num_adapters", "num_lines"), [(0, 0), (1, 1), (MAX_WARNED, 8), (20, 9)])
def test_what_an_adapter_cannot_have_is_a_warning(
    tmp_path: Path,
    tokenizer: Tokenizer,
    model_dir: Path,
    caplog: pytest.LogCaptureFixture,
    num_adapters: int,
    num_lines: int,
) -> None:
    formats_of(faulty(tmp_path, num_adapters, model_dir), tokenizer)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == num_lines
    if lines:
        assert lines[0].startswith("adapter 'v0': eos_token '<end>' is no token of the model")
    if num_lines > MAX_WARNED:
        assert lines[-1].startswith("12 more adapters were trained with")


def formats_of(info: EngineInfo, tokenizer: Tokenizer) -> PromptFormats:
    return load_formats(info, tokenizer, NOTHING_GIVEN, AdapterMirror(info.adapters))


def the_banner(info: EngineInfo, tokenizer: Tokenizer, formats: PromptFormats) -> str:
    served = Served(Names("base", AdapterMirror()), info, tokenizer, 0, formats)
    return banner(served, "http://127.0.0.1:8000", needs_key=False)


def test_the_banner_says_who_has_a_format_of_its_own(
    info: EngineInfo, tokenizer: Tokenizer
) -> None:
    formats = formats_of(info, tokenizer)
    line = "  formats   1 with a chat template of their own: own; 1 with ends of their own: own\n"
    assert line in the_banner(info, tokenizer, formats)
    assert "  formats " not in the_banner(info, tokenizer, PromptFormats(formats.base))


def test_the_banner_counts_where_many_have_their_own(
    info: EngineInfo, tokenizer: Tokenizer
) -> None:
    [own, _] = info.adapters
    many = replace(info, adapters=tuple(replace(own, name=f"v{number}") for number in range(20)))
    text = the_banner(many, tokenizer, formats_of(many, tokenizer))
    assert "20 with a chat template of their own: v0, v1, v2, v3, v4, v5, v6, v7, ...;" in text
