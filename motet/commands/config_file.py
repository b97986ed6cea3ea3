"""A YAML file of options: which line gives which value, as it would be typed on a command line."""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from motet.errors import ConfigError

MAX_FILE_BYTES = 1024**2
"""Far above every list of adapters; an endless file stops here."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the file."""

    place: str
    """File and line, for messages."""
    key: str
    value: str | list[str]
    """Lists are lists; of a mapping each entry is `name=value`."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Everything a file says: one setting for each option it names."""

    settings: dict[str, Setting]
    """By the name of the option, such as `pool_bytes`."""

    @classmethod
    def read(cls, path: Path, single: Collection[str], repeatable: Collection[str]) -> "ConfigFile":
        """Read the options that are named. Raises ConfigError naming the line, key and value.

        Keys are spelt like options, with `-` or `_`; repeatable ones also in the plural.
        """
        settings: dict[str, Setting] = {}
        for setting in _read_settings(path):
            name = _option_of(setting, single, repeatable)
            if name in settings:
                raise ConfigError(
                    f"{setting.place}: '{setting.key}' is there twice, first in "
                    f"{settings[name].place}: keep one"
                )
            settings[name] = setting
        return cls(settings)


def _read_settings(path: Path) -> Iterator[Setting]:
    try:
        root = yaml.compose(_read_bytes(path), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    except RecursionError as error:
        raise ConfigError(
            f"{path} is nested too deeply: write one 'name: value' per line"
        ) from error
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path} is no list of options: write one 'name: value' per line")
    for key, value in root.value:
        place = f"{path}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{place}: a key is no text: write one 'name: value' per line")
        yield Setting(place, str(key.value), _value_of(place, str(key.value), value))


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"--config is '{path}', which cannot be read: {error.strerror}"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"--config is '{path}', which is larger than {MAX_FILE_BYTES} bytes")
    return content


def _value_of(place: str, key: str, node: yaml.Node) -> str | list[str]:
    match node:
        case yaml.ScalarNode():
            return str(node.value)
        case yaml.SequenceNode() if all(isinstance(item, yaml.ScalarNode) for item in node.value):
            return [item.value for item in node.value]
        case yaml.MappingNode() if all(
            isinstance(part, yaml.ScalarNode) for entry in node.value for part in entry
        ):
            return [f"{name.value}={item.value}" for name, item in node.value]
    raise ConfigError(
        f"{place}: '{key}' is nested too deeply: give a value, a list of values, or "
        "'name: value' pairs"
    )


def _option_of(setting: Setting, single: Collection[str], repeatable: Collection[str]) -> str:
    name = setting.key.replace("-", "_")
    if name in single:
        if isinstance(setting.value, list):
            raise ConfigError(f"{setting.place}: '{setting.key}' has several values: it takes one")
        return name
    for spelling in (name, name.removesuffix("s")):
        if spelling in repeatable:
            return spelling
    near = difflib.get_close_matches(name, [*single, *repeatable], n=1)
    remedy = f"did you mean '{near[0]}'?" if near else "--help lists all"
    raise ConfigError(f"{setting.place}: there is no option '{setting.key}': {remedy}")
