"""The adapters that the operator asks for, in every form of the command line."""

import logging
import os
import reprlib
from dataclasses import dataclass

import msgspec

from motet.adapter_places import NOWHERE, AdapterPlaces, directory_given, scan
from motet.engine.config import option
from motet.errors import AdapterError, ConfigError

log = logging.getLogger(__name__)


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
        None,
        "Serve every PEFT LoRA directory in this one by its name, also those that come later.",
    )
    allow_adapter_path: tuple[str, ...] = option(
        (), "Adapters may be loaded from this directory too while the server runs; repeatable."
    )

    def read(self) -> "GivenAdapters":
        """The named ones as given, then those of the directory by name. Raises ConfigError."""
        named = [_parse("--adapter", text) for text in self.adapter]
        named += [_parse_module(text) for text in self.lora_modules]
        root, names = scan("--adapter-dir", self.adapter_dir) if self.adapter_dir else (None, [])
        allowed = [
            directory_given("--allow-adapter-path", path) for path in self.allow_adapter_path
        ]
        known = frozenset(os.path.abspath(path) for _, path in named)
        places = AdapterPlaces(root, tuple(allowed), known)
        found = [(name, os.path.join(root, name)) for name in names if root is not None]
        kept = [(name, path) for name, path in found if not _is_left_out(places, name, path)]
        return GivenAdapters((*named, *kept), frozenset(name for name, _ in kept), places)


@dataclass(frozen=True, slots=True)
class GivenAdapters:
    """What the options come to."""

    adapters: tuple[tuple[str, str], ...]
    """(name, path) of each."""
    optional: frozenset[str]
    """Names of those that were found, not asked for: a bad one is no reason not to start."""
    places: AdapterPlaces = NOWHERE
    """Where others may come from later."""


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


def _is_left_out(places: AdapterPlaces, name: str, path: str) -> bool:
    """Whether what was found cannot be served under its name, or lies elsewhere: reported then."""
    try:
        if ":" in name:
            raise AdapterError(
                f"'{path}' has ':' in its name, which requests use in 'base:adapter': rename it"
            )
        places.check(path)
    except AdapterError as error:
        log.warning("%s (found in --adapter-dir: left out)", error)
        return True
    return False
