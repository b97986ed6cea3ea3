"""Adapters that cannot be served are refused with the reason, while everybody else is served on."""

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import httpx
import pytest
from transformers import LlamaForCausalLM

from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.cli.process import Server
from tests.contract.contract_server import Json, error_in, until
from tests.contract.crowd import Crowd, crowd_on
from tests.corpus.corrupt_adapters import CORRUPTIONS, MAX_RANK, corrupt_adapters
from tests.model_factory import make_llama, make_tokenizer

MAX_ANSWER_S = 10.0
"""For a refusal. It should take 2 s at most; a busy machine may take longer."""

MAX_MESSAGE = 2000
"""Characters of a refusal, the path of the adapter among them."""

CROWD = ["tiny", "legal", "medical"]

corruptions = pytest.mark.parametrize("case", CORRUPTIONS)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The base model and two directories with all corrupt adapters and the good ones."""

    base: Path
    found: Path
    """Its --adapter-dir."""
    loadable: Path
    bad: Mapping[str, Path]
    """Case -> the adapter to load."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    directory = tmp_path_factory.mktemp("corrupt").resolve()
    base = make_tokenizer(make_llama(directory / "tiny"))
    model = LlamaForCausalLM.from_pretrained(base)
    (directory / "found").mkdir()
    for seed, name in enumerate(CROWD[1:]):
        good = save_adapter(model, directory / "found" / name, ADAPTER_KINDS["query-value"], seed)
    (directory / "loadable").mkdir()
    copytree(good, directory / "loadable" / good.name)
    corrupt_adapters(good, directory / "found")
    bad = corrupt_adapters(good, directory / "loadable")
    return Shelf(base, directory / "found", directory / "loadable", bad)


@pytest.fixture(scope="module")
def http(shelf: Shelf) -> Iterator[httpx.Client]:
    """A client of one process that serves the shelf, which nobody starts again if it dies."""
    server = Server(
        shelf.base, "--adapter-dir", shelf.found, "--allow-adapter-path", shelf.loadable,
        "--max-lora-rank", MAX_RANK, "--max-batch-rows", 64, "--deterministic",
        "--pool-bytes", "32MiB", "--host-bytes", "16MiB",
    )  # fmt: skip
    server.wait_for("/ready")
    with httpx.Client(base_url=server.url, timeout=MAX_ANSWER_S) as http:
        yield http
        until(lambda: http.get("/v1/memory").json()["requests"]["running"] == 0)
        held(http)
    code, err = server.stop(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err, err


@pytest.fixture(scope="module")
def crowd(http: httpx.Client) -> Iterator[Crowd]:
    """Everybody else. Their adapters are on the device before anything is refused."""
    with crowd_on(str(http.base_url), CROWD) as crowd:
        yield crowd


@pytest.fixture(scope="module")
def before(http: httpx.Client, crowd: Crowd) -> Json:
    """What the server holds when only the crowd is on it, and nothing is on its way."""
    until(lambda: not any(pages["transfer"] for pages in held(http)["pages"].values()))
    return held(http)


@corruptions
def test_what_is_corrupt_is_not_loaded(
    case: str, shelf: Shelf, http: httpx.Client, crowd: Crowd, before: Json
) -> None:
    corruption = CORRUPTIONS[case]
    body = {"lora_name": "corrupt", "lora_path": str(shelf.bad[case])}
    answer = http.post("/v1/load_lora_adapter", json=body)
    must_say(answer, corruption.status, corruption.reason)
    must_be_as_before(http, crowd, before)


@corruptions
def test_what_is_corrupt_in_the_directory_is_not_served(
    case: str, shelf: Shelf, http: httpx.Client, crowd: Crowd, before: Json
) -> None:
    corruption = CORRUPTIONS[case]
    body = {"model": shelf.bad[case].name, "prompt": [5], "max_tokens": 1}
    answer = http.post("/v1/completions", json=body)
    if corruption.is_adapter:
        must_say(answer, 400, corruption.reason)
    else:
        must_say(answer, 404, "does not exist")
    must_be_as_before(http, crowd, before)


def test_what_is_good_is_loaded_among_them(
    shelf: Shelf, http: httpx.Client, crowd: Crowd, before: Json
) -> None:
    good = {"lora_name": "good", "lora_path": str(shelf.loadable / "medical")}
    loaded = http.post("/v1/load_lora_adapter", json=good)
    assert loaded.status_code == 200, loaded.text
    wish = {"prompt": [5, 6, 7], "max_tokens": 8, "temperature": 0, "return_token_ids": True}
    said = {
        model: http.post("/v1/completions", json=wish | {"model": model}).json()["choices"]
        for model in ("good", *CROWD)
    }
    assert said["good"] == said["medical"] != said["tiny"]
    unloaded = http.post("/v1/unload_lora_adapter", json={"lora_name": "good"})
    assert unloaded.status_code == 200, unloaded.text
    must_be_as_before(http, crowd, before)


def must_say(answer: httpx.Response, status: int, reason: str) -> None:
    """In one line that people can read."""
    message: str = error_in(answer, status)["message"]
    assert reason in message
    assert message.isprintable()
    assert len(message) < MAX_MESSAGE


def must_be_as_before(http: httpx.Client, crowd: Crowd, before: Json) -> None:
    crowd.must_be_undisturbed()
    until(lambda: held(http) == before)


def held(http: httpx.Client) -> Json:
    """What is there for adapters: names, and pages but for KV. All pages are somebody's."""
    memory = http.get("/v1/memory").json()
    pages = {}
    for tier in ("pages", "host"):
        parts = memory[tier]
        assert parts.pop("total") == sum(parts.values())
        pages[tier] = {owner: parts[owner] for owner in ("adapter", "transfer", "quarantined")}
    listed = http.get("/v1/adapters", params={"limit": 1000}).json()
    assert not listed["has_more"]
    names = [adapter["name"] for adapter in listed["data"]]
    return {"pages": pages, "names": names, "current": memory["adapters"]["current"]}
