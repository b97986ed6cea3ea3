"""Every way to say which adapters are served: what is served, and what is refused."""

import json
import shutil
import signal
from pathlib import Path

import httpx
import pytest

from motet.commands.adapters_config import AdaptersConfig
from tests.cli.commands import Commands
from tests.cli.process import Server
from tests.cli.test_bad_input import assert_one_line


@pytest.fixture
def shelf(adapter_dir: Path, tmp_path: Path) -> Path:
    """A directory of two adapters, and of other things."""
    shelf = tmp_path / "shelf"
    for name in ("one", "two"):
        shutil.copytree(adapter_dir, shelf / name)
    (shelf / "empty").mkdir()
    (shelf / "notes.txt").write_text("no adapter")
    return shelf


def test_all_options_together_serve_all_adapters(
    model_dir: Path, adapter_dir: Path, shelf: Path
) -> None:
    as_json = json.dumps({"name": "org/c", "path": str(adapter_dir), "base_model_name": "tiny"})
    server = Server(
        *(model_dir, "--pool-bytes", "1MiB"),
        *("--adapter", f"a={adapter_dir}", "--lora-modules", f"b={adapter_dir}"),
        *("--lora-modules", as_json, "--adapter-dir", shelf),
    )
    server.wait_for("/ready")
    models = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert server.stop(signal.SIGTERM) == (0, "")
    assert [model["id"] for model in models] == ["tiny", "a", "b", "org/c", "one", "two"]
    assert models[4]["root"] == str(shelf / "one")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--adapter", "a:b=x"], ["'a:b'", "base:adapter"]),
        (["--lora-modules", "a"], ["--lora-modules is 'a'", "NAME=PATH"]),
        (["--lora-modules", '{"name": "a"}'], ["--lora-modules is", "path"]),
        (["--lora-modules", "{"], ["--lora-modules is '{'", "NAME=PATH"]),
        (["--lora-modules", "a=x", "--adapter", "a=y"], ["'a'", "twice"]),
        (["--adapter-dir", "/no/such"], ["--adapter-dir is '/no/such'", "No such file"]),
        (["--adapter-dir", __file__], ["--adapter-dir is", "Not a directory"]),
    ],
)
def test_bad_options(
    arguments: list[str], expected: list[str], model_dir: Path, motet: Commands
) -> None:
    assert_one_line(motet.run("serve", model_dir, "--port", 0, *arguments), *expected)


def test_a_directory_with_a_name_of_two_lines_is_refused(
    model_dir: Path, shelf: Path, motet: Commands
) -> None:
    (shelf / "one").rename(shelf / "a\nb")
    ended = motet.run("serve", model_dir, "--port", 0, "--adapter-dir", shelf)
    assert_one_line(ended, repr("a\nb"))


def test_a_name_that_requests_cannot_use_is_reported_and_left_out(
    shelf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (shelf / "one").rename(shelf / "a:b")
    given = AdaptersConfig(adapter_dir=str(shelf)).read()
    assert [name for name, _ in given.adapters] == ["two"]
    assert "a:b" in caplog.text and "left out" in caplog.text


@pytest.mark.parametrize("what", ["directory", "file"])
def test_a_link_that_leads_out_of_the_directory_is_reported_and_left_out(
    what: str, adapter_dir: Path, shelf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if what == "directory":
        stray = shelf / "stray"
        stray.symlink_to(adapter_dir)
        kept = ["one", "two"]
    else:
        stray = shelf / "one" / "adapter_model.safetensors"
        stray.unlink()
        stray.symlink_to(adapter_dir / stray.name)
        kept = ["two"]
    given = AdaptersConfig(adapter_dir=str(shelf)).read()
    assert [name for name, _ in given.adapters] == kept
    assert str(stray) in caplog.text and "leads out of --adapter-dir" in caplog.text


def test_an_adapter_in_place_of_the_directory_is_named_as_one(
    model_dir: Path, adapter_dir: Path, motet: Commands
) -> None:
    ended = motet.run("plan", model_dir, "--adapter-dir", adapter_dir)
    assert_one_line(ended, "which is an adapter", f"--adapter {adapter_dir.name}={adapter_dir}")


def test_a_bad_adapter_of_the_directory_is_refused_when_it_is_named(
    model_dir: Path, adapter_dir: Path, shelf: Path, motet: Commands
) -> None:
    (shelf / "one" / "adapter_model.safetensors").write_bytes(b"half a download")
    (shelf / "two" / "adapter_config.json").unlink()
    shutil.copytree(adapter_dir, shelf / "run" / "checkpoint-500")
    shutil.copytree(adapter_dir, shelf / "three")
    shutil.copytree(adapter_dir, shelf / "four")
    (shelf / "four" / "chat_template.jinja").write_text("{% for %}")
    server = Server(model_dir, "--pool-bytes", "1MiB", "--adapter-dir", shelf)
    server.wait_for("/ready")
    reasons = {name: _refusal(server.url, name) for name in ("four", "one", "run", "two")}
    good = httpx.post(f"{server.url}/v1/completions", json={"model": "three", "prompt": [1, 2]})
    code, err = server.stop(signal.SIGTERM)
    assert (code, err, good.status_code) == (0, "", 200)
    assert "chat template" in reasons["four"]
    assert "adapter_model.safetensors is not a complete safetensors file" in reasons["one"]
    assert f"did you mean '{shelf}/run/checkpoint-500'?" in reasons["run"]
    assert "two': adapter_config.json is missing" in reasons["two"]
    planned = motet.run("plan", model_dir, "--pool-bytes", "1MiB", "--adapter-dir", shelf)
    assert (planned.code, planned.out.count("refused: ")) == (0, 4)


def _refusal(url: str, model: str) -> str:
    """Why a request on an adapter is refused."""
    answer = httpx.post(f"{url}/v1/completions", json={"model": model, "prompt": [1, 2]})
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


def test_a_bad_adapter_that_was_asked_for_is_a_reason_not_to_start(
    model_dir: Path, shelf: Path, motet: Commands
) -> None:
    (shelf / "one" / "adapter_model.safetensors").write_bytes(b"half a download")
    options = ("--adapter", f"a={shelf / 'one'}", "--adapter-dir", shelf)
    ended = motet.run("serve", model_dir, "--port", 0, *options)
    assert_one_line(ended, "not a complete safetensors file")


def test_a_link_that_stays_in_the_directory_is_another_name(
    model_dir: Path, shelf: Path, motet: Commands
) -> None:
    (shelf / "alias").symlink_to(shelf / "one")
    ended = motet.run(
        "serve", model_dir, "--port", 0, "--adapter-dir", shelf, "--adapter", "alias=x"
    )
    assert_one_line(ended, "'alias'", "twice")
