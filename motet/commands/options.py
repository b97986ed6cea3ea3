"""Command line options derived from the fields of config dataclasses."""

import functools
import inspect
import re
import reprlib
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from motet.commands.configurable import CONFIG_PARAMETER
from motet.errors import ConfigError

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def options_from_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter that is a config dataclass into one option per field of it.

    A field's name, type, default and help are the option's; a field in bytes takes a size, a
    tuple is a repeatable option. `--config FILE` comes with them.
    """
    hints = get_type_hints(command, include_extras=True)
    configs: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @functools.wraps(command)
    def run(**values: Any) -> None:
        del values[CONFIG_PARAMETER.name]
        for name, config in configs.items():
            values[name] = config(**{f.name: _read(f, values.pop(f.name)) for f in fields(config)})
        command(**values)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        config = configs.get(parameter.name)
        parameters += _parameters(config) if config else [parameter.replace(kind=KEYWORD)]
    run.__signature__ = inspect.Signature([*parameters, CONFIG_PARAMETER])  # type: ignore[attr-defined]
    return run


UNITS = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", start=1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", start=1)},
}
SIZE = re.compile(
    r"(?P<number>\d{1,30}(\.\d{1,30})?(e\+?\d{1,2})?)\s*(?P<unit>[a-z]*)", re.IGNORECASE
)


def parse_size(flag: str, text: str) -> int:
    """Bytes of a size such as 512MiB, 8GiB, 1e9 or 4096. Raises ConfigError."""
    match = SIZE.fullmatch(text.strip())
    unit = UNITS.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        raise ConfigError(
            f"{flag} is {reprlib.repr(text)}: give a size such as 512MiB, 8GiB or 1e9 (bytes)"
        )
    return int(float(match["number"]) * unit)


def _parameters(config: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(config)
    return [
        inspect.Parameter(
            f.name, KEYWORD, default=_default(f), annotation=_option(f, hints[f.name])
        )
        for f in fields(config)
    ]


def _default(field: Field[Any]) -> Any:
    return list(field.default) if isinstance(field.default, tuple) else field.default


def _option(field: Field[Any], hint: Any) -> Any:
    flag, help = _flag(field), field.metadata["help"]
    if _is_size(field):
        return Annotated[str | None, typer.Option(flag, help=help, metavar="SIZE")]
    if get_origin(hint) is tuple:
        hint = list[get_args(hint)[0]]  # type: ignore[misc]
    return Annotated[hint, typer.Option(flag, help=help)]


def _flag(field: Field[Any]) -> str:
    return "--" + field.name.replace("_", "-")


def _is_size(field: Field[Any]) -> bool:
    return field.name.endswith("_bytes")


def _read(field: Field[Any], value: Any) -> Any:
    if _is_size(field) and value is not None:
        return parse_size(_flag(field), value)
    return tuple(value) if isinstance(field.default, tuple) else value
