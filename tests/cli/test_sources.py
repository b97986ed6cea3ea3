"""Where options come from: command line, environment, file, default, in this order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer

from motet.commands.configurable import ConfigurableCommand
from motet.commands.options import options_from_fields
from motet.engine.config import Bounded, option
from motet.errors import ConfigError
from tests.cli.commands import Commands


@dataclass(frozen=True, slots=True)
class Settings(Bounded):
    port: int = option(1, "A number.", most=9)
    pool_bytes: int | None = option(None, "A size.")
    order: Literal["up", "down"] = option("up", "A choice.")
    is_fast: bool = option(False, "A switch.")
    api_key: tuple[str, ...] = option((), "Several values.")


@dataclass(frozen=True, slots=True)
class Given:
    settings: Settings
    model: str
    adapters: list[str]


def run(*arguments: object) -> Given:
    """What a command with every kind of option receives. Raises ConfigError."""
    given: list[Given] = []
    app = typer.Typer()

    @app.command(cls=ConfigurableCommand)
    @options_from_fields
    def command(
        model: str,
        settings: Settings,
        adapter: Annotated[list[str] | None, typer.Option()] = None,
    ) -> None:
        given.append(Given(settings, model, adapter or []))

    app([str(argument) for argument in arguments], standalone_mode=False)
    return given[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "motet.yaml"


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("m").settings.port == 1
    file.write_text("port: 2")
    assert run("m", "--config", file).settings.port == 2
    monkeypatch.setenv("MOTET_PORT", "3")
    assert run("m", "--config", file).settings.port == 3
    assert run("m", "--config", file, "--port", 4).settings.port == 4


def test_the_file_itself_may_be_named_in_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("port: 2")
    monkeypatch.setenv("MOTET_CONFIG", str(file))
    assert run("m").settings.port == 2


def test_a_file_can_say_everything_a_command_line_can(file: Path) -> None:
    file.write_text(
        """
        model: org/name
        port: 7
        pool-bytes: 2KiB  # spelt as on the command line
        order: down
        is_fast: true
        api_key: one, with a comma
        adapters:
          sql: /adapters/sql
          no: ./no
        """
    )
    expected = Settings(
        port=7, pool_bytes=2048, order="down", is_fast=True, api_key=("one, with a comma",)
    )
    assert run("--config", file) == Given(expected, "org/name", ["sql=/adapters/sql", "no=./no"])


@pytest.mark.parametrize("text", ["api_key: [a, b]", "api-keys:\n- a\n- b\n"])
def test_a_repeatable_option_is_a_list_in_the_file(text: str, file: Path) -> None:
    file.write_text(text)
    assert run("m", "--config", file).settings.api_key == ("a", "b")


def test_a_repeatable_option_has_commas_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOTET_API_KEY", "a,b")
    monkeypatch.setenv("MOTET_ADAPTER", "x=/a directory,y=/other")
    given = run("m")
    assert given.settings.api_key == ("a", "b")
    assert given.adapters == ["x=/a directory", "y=/other"]


def test_a_repeatable_option_has_commas_only_there() -> None:
    assert run("m", "--api-key", "a,b", "--api-key", "c").settings.api_key == ("a,b", "c")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_changes_nothing(text: str, file: Path) -> None:
    file.write_text(text)
    assert run("m", "--config", file) == run("m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot: 1", ["line 1: there is no option 'prot'", "did you mean 'port'?"]),
        ("xyz: 1", ["there is no option 'xyz'", "--help lists all"]),
        ("config: x", ["there is no option 'config'"]),
        ("\nport: many", ["line 2: port is 'many'", "integer"]),
        ("port: 70000", ["line 1: --port is 70000: it must be 1 to 9"]),
        ("order: sideways", ["order is 'sideways'", "'up'"]),
        ("pool_bytes: 8GX", ["line 1: --pool-bytes is '8GX'", "8GiB"]),
        ("port: [1, 2]", ["'port' has several values: it takes one"]),
        ("port: " + "[" * 10**4, ["nested too deeply"]),
        ("? [port, a]\n: 1", ["line 1: a key is no text"]),
        ("port: 1\nport: 2", ["line 2: 'port' is there twice", "line 1"]),
        ("api_key: a\napi_keys: b", ["line 2: 'api_keys' is there twice"]),
        ("adapter: {a: [b]}", ["line 1: 'adapter' is nested too deeply"]),
        ("port", ["write one 'name: value' per line"]),
        ("a: b: c", ["is not valid YAML", "line 1"]),
        ("\0", ["is not valid YAML"]),
        (" " * (1024**2 + 1), ["larger than"]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_wrong_in_a_file_is_named(text: str, expected: list[str], file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as failure:
        run("m", "--config", file)
    for part in [str(file), *expected]:
        assert part in str(failure.value)


@pytest.mark.parametrize(
    ("value", "expected"), [("many", "port is 'many'"), ("70000", "--port is 70000")]
)
def test_what_is_wrong_in_the_environment_is_named(
    value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTET_PORT", value)
    with pytest.raises(ConfigError, match=f"^environment variable MOTET_PORT: {expected}"):
        run("m")


def test_a_lost_secret_does_not_open_the_server(
    monkeypatch: pytest.MonkeyPatch, motet: Commands
) -> None:
    monkeypatch.setenv("MOTET_API_KEY", "")
    ended = motet.run("serve", "nowhere")
    assert (ended.code, ended.out) == (2, "")
    assert "MOTET_API_KEY is empty" in ended.err


def test_the_environment_cannot_ask_for_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOTET_HELP", "1")
    assert run("m").model == "m"


def test_what_is_wrong_on_the_command_line_is_not_blamed_on_the_file(file: Path) -> None:
    file.write_text("port: 2")
    with pytest.raises(ConfigError, match=r"^--port is 10: "):
        run("m", "--config", file, "--port", 10)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--config is '{tmp_path}'.*directory"):
        run("m", "--config", tmp_path)


def test_serve_reads_a_file(file: Path, motet: Commands) -> None:
    file.write_text("model: /no/such\nport: 0\n")
    ended = motet.run("serve", "--config", file)
    assert ended.code == 2
    assert ended.err.startswith("motet: error: model '/no/such' does not exist")
