"""Chat templates and ends on the command line: given, compared, refused."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet.file_names import TOKENIZER_CONFIG
from motet.tokenizer_config import TEMPLATE_FILE
from tests.cli.commands import Commands
from tests.cli.process import Server
from tests.cli.test_bad_input import assert_one_line
from tests.prompt_files import OWN_TEMPLATE, write_files

MESSAGES = [{"role": "user", "content": "a b"}]
NOTES = ("template differs from the base's", "ends differ: adds '<unk>' (0)")


@pytest.fixture
def own(adapter_dir: Path, tmp_path: Path) -> Path:
    """An adapter with a template and an end of its own."""
    files = {TEMPLATE_FILE: OWN_TEMPLATE, TOKENIZER_CONFIG: {"eos_token": "<unk>"}}
    return write_files(shutil.copytree(adapter_dir, tmp_path / "own"), files)


def test_check_says_what_differs(
    model_dir: Path, adapter_dir: Path, own: Path, motet: Commands
) -> None:
    ended = motet.run("adapters", "check", own, adapter_dir, "--model", model_dir)
    assert (ended.code, ended.err) == (0, "")
    of_own, of_plain = ended.out.split("ok      ")[1:]
    assert of_own.startswith(f"adapter '{own}': rank 3")
    assert of_plain.startswith(f"adapter '{adapter_dir}': rank 3")
    assert [f"        {note}\n" in of_own for note in NOTES] == [True, True]
    assert [note in of_plain for note in NOTES] == [False, False]


def test_check_says_what_cannot_be_had(model_dir: Path, own: Path, motet: Commands) -> None:
    content = json.loads((model_dir / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    write_files(own, {TOKENIZER_CONFIG: {"eos_token": "<end>"}, "tokenizer.json": content})
    ended = motet.run("adapters", "check", own, "--model", model_dir)
    assert ended.code == 0
    assert "\n        eos_token '<end>', which its template writes, is no token" in ended.out
    assert "\n        eos_token '<end>' is no token of the model, so it ends no answer" in ended.out
    assert "--adapter-eos-token own=TOKEN" in ended.out
    assert "\n        tokenizer differs: 'The quick br" in ended.out


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({TOKENIZER_CONFIG: "["}, "tokenizer_config.json is not valid JSON"),
        ({TOKENIZER_CONFIG: {"eos_token": 7}}, "tokenizer_config.json has 7 as eos_token"),
        ({TEMPLATE_FILE: "{{"}, "cannot be compiled"),
    ],
)
def test_check_refuses_what_a_start_refuses(
    model_dir: Path, own: Path, motet: Commands, files: dict[str, Any], message: str
) -> None:
    write_files(own, files)
    ended = motet.run("adapters", "check", own, "--model", model_dir)
    assert (ended.code, ended.err) == (1, "")
    [line] = ended.out.splitlines()
    assert line.startswith("failed  ")
    assert message in line


def test_plan_says_what_differs(
    model_dir: Path, adapter_dir: Path, own: Path, motet: Commands
) -> None:
    adapters = ("--adapter", f"own={own}", "--adapter", f"plain={adapter_dir}")
    ended = motet.run("plan", model_dir, *adapters, "--pool-bytes", "1MiB")
    of_own, of_plain = ended.out.partition("adapter own")[2].split("adapter plain")
    assert [note in of_own for note in NOTES] == [True, True]
    assert [note in of_plain for note in NOTES] == [False, False]
    as_json = motet.run("plan", model_dir, *adapters, "--pool-bytes", "1MiB", "--json")
    assert json.loads(as_json.out)["adapter_notes"] == {"own": list(NOTES), "plain": []}


def test_plan_refuses_what_a_start_refuses(model_dir: Path, own: Path, motet: Commands) -> None:
    write_files(own, {TEMPLATE_FILE: "{{"})
    ended = motet.run("plan", model_dir, "--adapter", f"own={own}", "--pool-bytes", "1MiB")
    assert_one_line(ended, "cannot be compiled", "remove it to use the base model's")


def test_a_server_takes_formats_from_everywhere(
    model_dir: Path, adapter_dir: Path, own: Path, tmp_path: Path
) -> None:
    files = {
        "base.jinja": "base {{ messages[0].content }}",
        "plain.jinja": "plain {{ messages[0].content }}",
        "motet.yaml": "chat_template: base.jinja\nadapter_eos_tokens: {own: 7}\n",
    }
    write_files(tmp_path, files)
    write_files(own, {TOKENIZER_CONFIG: {"eos_token": "<end>"}})
    server = Server(
        *(model_dir, "--pool-bytes", "1MiB", "--config", "motet.yaml"),
        *("--adapter", f"own={own}", "--adapter", f"plain={adapter_dir}"),
        *("--adapter", f"strange={own}", "--adapter-chat-template", "plain=plain.jinja"),
        environment={**os.environ, "MOTET_EOS_TOKEN": "5,<s>"},
        directory=tmp_path,
    )
    server.wait_for("/ready")
    texts = {
        name: httpx.post(
            f"{server.url}/v1/chat/completions",
            json={"model": name, "messages": MESSAGES, "logit_bias": {"7": 100}, "max_tokens": 3},
        ).json()
        for name in ("tiny", "own", "plain")
    }
    written = {
        name: httpx.post(
            f"{server.url}/detokenize", json={"tokens": tokens_of(server, name)}
        ).json()["prompt"]
        for name in texts
    }
    banner = server.read_banner()
    code, err = server.stop(signal.SIGTERM)
    assert written == {"tiny": "base a b", "own": "<user>a b<end>", "plain": "plain a b"}
    ends = {name: answer["choices"][0]["finish_reason"] for name, answer in texts.items()}
    assert ends == {"tiny": "length", "own": "stop", "plain": "length"}
    assert "3 with a chat template of their own: own, plain, strange" in banner
    assert (code, err.count("\n")) == (0, 3), err
    assert "adapter 'strange': eos_token '<end>', which its template writes, is no token" in err
    assert "adapter 'strange': eos_token '<end>' is no token of the model, so it ends no" in err


def tokens_of(server: Server, model: str) -> Any:
    body = {"model": model, "messages": MESSAGES}
    return httpx.post(f"{server.url}/tokenize", json=body).json()["tokens"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--chat-template", "/no/such"], ["--chat-template is '/no/such', which does not exist"]),
        (["--chat-template", "MODEL/tokenizer.json"], ["which is no chat template"]),
        (["--eos-token", "<end>"], ["--eos-token has '<end>'", "0 to 319"]),
        (["--eos-token", ""], ["--eos-token is ''"]),
        (["--adapter-chat-template", "x"], ["--adapter-chat-template is 'x'", "NAME=FILE"]),
        (["--adapter-chat-template", "x=base"], ["for 'x', which is no adapter"]),
        (["--adapter-eos-token", "own"], ["--adapter-eos-token is 'own'", "NAME=TOKEN"]),
        (["--adapter-eos-token", "own=400"], ["--adapter-eos-token has '400'", "0 to 319"]),
    ],
)
def test_what_cannot_be_given_is_refused_before_the_model_is_loaded(
    model_dir: Path,
    own: Path,
    motet: Commands,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: list[str],
) -> None:
    def too_late(*_: object) -> None:
        pytest.fail("the engine is made")

    monkeypatch.setattr("motet.cli.Engine", too_late)
    arguments = [text.replace("MODEL", str(model_dir)) for text in arguments]
    ended = motet.run("serve", model_dir, "--port", 0, "--adapter", f"own={own}", *arguments)
    assert_one_line(ended, *expected)


def test_an_error_names_the_place_of_the_option(
    model_dir: Path, motet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTET_CHAT_TEMPLATE", "/no/such")
    ended = motet.run("serve", model_dir, "--port", 0)
    message = "environment variable MOTET_CHAT_TEMPLATE: --chat-template is '/no/such'"
    assert_one_line(ended, message)
