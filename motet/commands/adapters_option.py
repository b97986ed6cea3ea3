"""The adapters that the operator asks for, in every form of the command line."""

import reprlib
from pathlib import Path

import msgspec

from motet.errors import ConfigError

ADAPTER_FILE = "adapter_config.json"
"""A directory that has it is an adapter."""


class _LoraModule(msgspec.Struct):
    """The JSON form of `--lora-modules`."""

    name: str
    path: str
    base_model_name: str | None = None  # there is one base model


def adapters_given(
    adapters: list[str], lora_modules: list[str], adapter_dir: Path | None
) -> tuple[tuple[str, str], ...]:
    """(name, path) of each adapter: the named ones as given, then those of the directory by name.

    Raises ConfigError.
    """
    named = [_parse("--adapter", text) for text in adapters]
    modules = [_parse_module(text) for text in lora_modules]
    found = _adapters_in(adapter_dir) if adapter_dir else []
    return (*named, *modules, *found)


def _parse(flag: str, text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not (name and path):
        raise ConfigError(f"{flag} is {text!r:.100}: give it as NAME=PATH")
    return name, path


def _parse_module(text: str) -> tuple[str, str]:
    if not text.startswith("{"):
        return _parse("--lora-modules", text)
    try:
        module = msgspec.json.decode(text, type=_LoraModule)
    except msgspec.MsgspecError as error:
        example = '{"name": "NAME", "path": "PATH"}'
        raise ConfigError(
            f"--lora-modules is {reprlib.repr(text)}, which cannot be read ({error}): "
            f"give it as NAME=PATH or {example}"
        ) from error
    return module.name, module.path


def _adapters_in(directory: Path) -> list[tuple[str, str]]:
    """Each sub-directory that is an adapter, under its own name. None may lie elsewhere."""
    try:
        root = directory.resolve(strict=True)
        found = [path for path in sorted(root.iterdir()) if (path / ADAPTER_FILE).exists()]
        stray = [part for path in found for part in _parts(path) if not _is_in(root, part)]
    except OSError as error:
        raise ConfigError(
            f"--adapter-dir is '{directory}', which cannot be read: {error.strerror}"
        ) from error
    if stray:
        raise ConfigError(
            f"{str(stray[0])!r} leads out of --adapter-dir '{directory}': "
            "move what it points to there, or name the adapter with --adapter"
        )
    return [(path.name, str(path)) for path in found]


def _parts(path: Path) -> list[Path]:
    return [path, *path.iterdir()]


def _is_in(root: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(root)
