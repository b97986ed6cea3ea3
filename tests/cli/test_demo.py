"""Commands without a model, which mean the one that comes with motet."""

import json
from pathlib import Path

import pytest

from motet import demo
from tests.cli.commands import Commands
from tests.cli.test_bad_input import assert_one_line

POOL = ("--pool-bytes", "64MiB")


def test_plan_without_a_model_plans_the_demo_and_its_voices(motet: Commands) -> None:
    ended = motet.run("plan", *POOL, "--json")
    assert (ended.code, ended.err) == (0, "")
    plan = json.loads(ended.out)
    assert plan["model"] == str(demo.MODEL)
    assert [adapter["name"] for adapter in plan["adapters"]] == list(demo.VOICE_NAMES)


def test_voices_are_checked_against_the_demo(motet: Commands) -> None:
    ended = motet.run("adapters", "check", *(path for _, path in demo.voices()))
    assert (ended.code, ended.err) == (0, "")
    first_words = [line.partition(" ")[0] for line in ended.out.splitlines()]
    assert [word for word in first_words if word] == ["ok"] * len(demo.VOICE_NAMES)


@pytest.mark.parametrize("source", ["command line", "environment", "file"])
def test_a_model_that_is_named_anywhere_gets_no_voices(
    source: str,
    model_dir: Path,
    tmp_path: Path,
    motet: Commands,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "motet.yaml"
    file.write_text(f"model: {model_dir}\n")
    if source == "environment":
        monkeypatch.setenv("MOTET_MODEL", str(model_dir))
    given: dict[str, list[object]] = {
        "command line": [model_dir],
        "environment": [],
        "file": ["--config", file],
    }
    ended = motet.run("plan", *given[source], *POOL, "--json")
    plan = json.loads(ended.out)
    assert (plan["model"], plan["adapters"]) == (str(model_dir), [])


def test_a_voice_keeps_its_name(adapter_dir: Path, motet: Commands) -> None:
    ended = motet.run("serve", "--adapter", f"pirate={adapter_dir}", "--port", 0)
    assert_one_line(ended, "'pirate'", "twice")


def test_the_demo_may_not_be_there(
    tmp_path: Path, motet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "MODEL", tmp_path / "town")
    assert_one_line(motet.run("serve", "--port", 0), str(tmp_path / "town"), "give a MODEL")
