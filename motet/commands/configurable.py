"""Commands that also take their options from the environment and from a file.

Order: command line, environment, file, default.
"""

import inspect
import os
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from motet.commands.config_file import ConfigFile, Setting
from motet.errors import ConfigError

ENVIRONMENT_PREFIX = "MOTET"
LIST_SEPARATOR = ","
"""Between the values of a repeatable option in the environment."""

FILE = "motet.config_file"
"""Where the context keeps the ConfigFile."""


class ConfigurableCommand(TyperCommand):
    """Option `--page-tokens` is also `MOTET_PAGE_TOKENS`, and `page_tokens` in the file.

    An error in a value from there says where it stands.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings["auto_envvar_prefix"] = ENVIRONMENT_PREFIX
        for parameter in self.params:
            if parameter.multiple:
                parameter.envvar_list_splitter = LIST_SEPARATOR  # type: ignore[misc]

    def get_help_option(self, ctx: Any) -> Any:
        """Which is for people: `MOTET_HELP` would keep every command from running."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.allow_from_autoenv = False
        return option

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check_environment(self.params)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            setting = _setting(ctx, error.param) if error.param else None
            if setting is None:
                raise
            value = reprlib.repr(setting.value)
            message = f"{setting.place}: {setting.key} is {value}: {error.message}"
            raise ConfigError(message) from error

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            parameter = _named_parameter(ctx, str(error))
            setting = _setting(ctx, parameter) if parameter else None
            if setting is None:
                raise
            raise ConfigError(f"{setting.place}: {error}") from error


def _check_environment(parameters: Iterable[Any]) -> None:
    """An empty variable is a secret or a setting that got lost: not the wish to do without."""
    for parameter in parameters:
        variable = _variable(parameter)
        if os.environ.get(variable) == "":
            raise ConfigError(
                f"environment variable {variable} is empty: give it a value or unset it"
            )


def _variable(parameter: Any) -> str:
    return f"{ENVIRONMENT_PREFIX}_{parameter.name.upper()}"


def _read_file(ctx: typer.Context, path: Path | None) -> None:
    """What the file says becomes the defaults of the command."""
    if path is None:
        return
    parameters = [item for item in ctx.command.params if item.name != "config"]
    single = [item.name for item in parameters if not item.multiple and item.nargs == 1]
    repeatable = [item.name for item in parameters if item.multiple]
    file = ConfigFile.read(path, single, repeatable)
    ctx.meta[FILE] = file
    ctx.default_map = {
        name: [setting.value]
        if name in repeatable and isinstance(setting.value, str)
        else setting.value
        for name, setting in file.settings.items()
    }


CONFIG_PARAMETER = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            is_eager=True,  # before the options it has defaults for
            callback=_read_file,
            help="YAML file of these options, one 'name: value' per line.",
        ),
    ],
)
"""`--config FILE`, to be added to a command, which can ignore it."""


def _setting(ctx: Any, parameter: Any) -> Setting | None:
    """Where the value of a parameter stands, unless it is the command line or the default."""
    match ctx.get_parameter_source(parameter.name).name:
        case "ENVIRONMENT":
            variable = _variable(parameter)
            place = f"environment variable {variable}"
            return Setting(place, parameter.name, os.environ[variable])
        case "DEFAULT_MAP":
            file: ConfigFile = ctx.meta[FILE]
            return file.settings[parameter.name]
    return None


def _named_parameter(ctx: Any, message: str) -> Any:
    """The option that an error message begins with."""
    flag = re.match(r"--[\w-]+", message)
    named = [item for item in ctx.command.params if flag and flag[0] in item.opts]
    return named[0] if named else None
