"""Options: each field of a config is one, with the field's name, type, default and help."""

from dataclasses import Field, fields
from typing import Any

import pytest
import typer

import motet as package
from motet.bench.config import LoadConfig
from motet.commands.adapters_config import AdaptersConfig
from motet.commands.options import options_from_fields, parse_size
from motet.commands.settings import ChatConfig, ConnectionConfig, TopConfig
from motet.engine.config import BatchConfig, ModelConfig, PoolConfig
from motet.errors import ConfigError
from motet.server.http.config import ServerConfig
from tests.cli.commands import Commands

ENGINE = (ModelConfig, PoolConfig, BatchConfig)
COMMANDS: dict[tuple[str, ...], tuple[type[Any], ...]] = {
    ("serve",): (AdaptersConfig, ServerConfig, *ENGINE),
    ("plan",): (AdaptersConfig, *ENGINE),
    ("chat",): (ConnectionConfig, ChatConfig),
    ("top",): (ConnectionConfig, TopConfig),
    ("adapters", "ls"): (ConnectionConfig,),
    ("adapters", "load"): (ConnectionConfig,),
    ("adapters", "unload"): (ConnectionConfig,),
    ("adapters", "pin"): (ConnectionConfig,),
    ("adapters", "unpin"): (ConnectionConfig,),
    ("adapters", "check"): ENGINE,
    ("bench", "serve"): (LoadConfig,),
}
OPTIONS = [
    (command, field)
    for command, configs in COMMANDS.items()
    for config in configs
    for field in fields(config)
]


@pytest.mark.parametrize(
    ("command", "field"), OPTIONS, ids=lambda value: getattr(value, "name", "")
)
def test_every_config_field_is_an_option(
    command: tuple[str, ...], field: Field[Any], monkeypatch: pytest.MonkeyPatch, motet: Commands
) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    shown = motet.run(*command, "--help").out
    flag = "--" + field.name.replace("_", "-")
    assert f"{flag} " in shown
    assert f"MOTET_{field.name.upper()}]" in shown
    assert field.metadata["help"] in " ".join(shown.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_and_reads_a_file(
    command: tuple[str, ...], motet: Commands
) -> None:
    shown = motet.run(*command, "--help").out
    assert f"Example: motet {' '.join(command)}" in " ".join(shown.split())
    assert "--config" in shown


def test_given_options_reach_their_configs_and_the_others_keep_their_defaults() -> None:
    seen: list[Any] = []
    app = typer.Typer()

    @app.command()
    @options_from_fields
    def command(pool: PoolConfig, batch: BatchConfig, name: str = "x") -> None:
        seen.extend([pool, batch, name])

    app(["--pool-bytes", "2KiB", "--max-batch-rows", "3"], standalone_mode=False)
    assert seen == [PoolConfig(pool_bytes=2048), BatchConfig(max_batch_rows=3), "x"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("1e9", 10**9),
        ("512MiB", 512 * 1024**2),
        ("8GiB", 8 * 1024**3),
        ("1.5gib", 3 * 1024**3 // 2),
        ("2 TB", 2 * 10**12),
        ("64KB", 64_000),
        ("0", 0),
    ],
)
def test_sizes_have_units_or_are_bytes(text: str, size: int) -> None:
    assert parse_size("--pool-bytes", text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "8GX", "-1", "GiB", "1.2.3", "1e999", "nan", "8 Gi B", "9" * 31]
)
def test_a_bad_size_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--pool-bytes is '{text[:9]}.*'"):
        parse_size("--pool-bytes", text)


def test_the_version_is_printed(motet: Commands) -> None:
    ended = motet.run("--version")
    assert (ended.code, ended.out) == (0, f"motet {package.__version__}\n")
