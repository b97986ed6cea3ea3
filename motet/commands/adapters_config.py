"""The adapters that the operator asks for, in every form of the command line."""

import logging
import reprlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from motet.engine.config import option
from motet.errors import ConfigError
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS

log = logging.getLogger(__name__)

TRACES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, f"*/{ADAPTER_CONFIG}")
"""A directory that has one of them is an adapter, or somebody will think that it is one."""


class _LoraModule(msgspec.Struct):
    """The JSON form of `--lora-modules`."""

    name: str
    path: str
    base_model_name: str | None = None  # there is one base model


@dataclass(frozen=True, slots=True)
class AdaptersConfig:
    """Which adapters to serve."""

    adapter: tuple[str, ...] = option(
        (), "NAME=PATH of a PEFT LoRA directory, or NAME=hub id; repeatable."
    )
    lora_modules: tuple[str, ...] = option(
        (), "As --adapter, also JSON with name and path; repeatable."
    )
    adapter_dir: str | None = option(
        None, "Serve every PEFT LoRA directory in this one by its name."
    )

    def read(self) -> "GivenAdapters":
        """The named ones as given, then those of the directory by name. Raises ConfigError."""
        named = [_parse("--adapter", text) for text in self.adapter]
        modules = [_parse_module(text) for text in self.lora_modules]
        found = _adapters_in(Path(self.adapter_dir)) if self.adapter_dir else []
        return GivenAdapters((*named, *modules, *found), frozenset(name for name, _ in found))


@dataclass(frozen=True, slots=True)
class GivenAdapters:
    """What the options come to."""

    adapters: tuple[tuple[str, str], ...]
    """(name, path) of each."""
    optional: frozenset[str]
    """Names of those that were found, not asked for: a bad one is no reason not to start."""


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
    """Each sub-directory that is an adapter, under its own name.

    What cannot be served under its name, or lies elsewhere, is reported and left out.
    """
    try:
        root = directory.resolve(strict=True)
        found = {path: _fault(root, path) for path in sorted(root.iterdir()) if _is_adapter(path)}
    except OSError as error:
        raise ConfigError(
            f"--adapter-dir is '{directory}', which cannot be read: {error.strerror}"
        ) from error
    if (root / ADAPTER_CONFIG).exists():
        raise ConfigError(
            f"--adapter-dir is '{directory}', which is an adapter, not a directory of them: "
            f"name it with --adapter {root.name}={directory}"
        )
    for fault in filter(None, found.values()):
        log.warning("%s (found in --adapter-dir: left out)", fault)
    return [(path.name, str(path)) for path, fault in found.items() if fault is None]


def _fault(root: Path, path: Path) -> str | None:
    """Why a directory in `root` cannot be taken as it is, and what to do."""
    if ":" in path.name:
        return f"'{path}' has ':' in its name, which requests use in 'base:adapter': rename it"
    stray = next((part for part in (path, *path.iterdir()) if not _is_in(root, part)), None)
    if stray is None:
        return None
    return (
        f"{str(stray)!r} leads out of --adapter-dir '{root}': move what it points to there, or "
        "name the adapter with --adapter"
    )


def _is_adapter(path: Path) -> bool:
    return any(any(path.glob(trace)) for trace in TRACES)


def _is_in(root: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(root)
