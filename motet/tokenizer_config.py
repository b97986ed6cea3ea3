"""What transformers knows of a tokenizer beside its vocabulary: roles of tokens, chat templates.

Read from the files as transformers reads them, without importing it, which takes seconds. They may
lie in a model directory or in that of an adapter, all or some of them or none.
"""

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.errors import ConfigError
from motet.file_names import TOKENIZER_CONFIG
from motet.memory.device.files import ADAPTER, MODEL, Origin, opened, read_json

LEGACY_ROLES_FILE = "special_tokens_map.json"
TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_FOLDER = "additional_chat_templates"

MAX_TEMPLATE_BYTES = 1024**2
"""Ten times the largest real ones."""

ROLES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
"""Which every tokenizer may have. Models add some of their own, such as image_token."""

_COPY = "copy it again"


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """What the files of one directory say."""

    special_tokens: Mapping[str, str]
    """Role, such as eos_token, -> text of the token."""
    chat_template: str | Mapping[str, str] | None
    """Or several by name."""


def read_tokenizer_config(directory: Path, *, is_adapter: bool = False) -> TokenizerConfig:
    """The roles and templates in `directory`, none where it has no such files.

    Raises ModelError or AdapterError, one line, for files that are there but cannot be used.
    """
    origin = ADAPTER if is_adapter else MODEL
    fields = _object(directory / TOKENIZER_CONFIG, origin)
    templates = _template_files(directory, origin)
    if list(templates) == ["default"]:
        fields["chat_template"] = templates["default"]
    elif templates:
        fields["chat_template"] = templates
    own_roles = _own_roles(fields)
    legacy: dict[str, Any] = {}
    if "added_tokens_decoder" not in fields:  # of a transformers that kept roles elsewhere
        legacy = _object(directory / LEGACY_ROLES_FILE, origin)
        own_roles |= _if_object(legacy.pop("extra_special_tokens", None))
        fields |= {name: _as_added_token(value) for name, value in legacy.items()}
    try:
        return TokenizerConfig(_roles(fields, own_roles), _templates(fields.get("chat_template")))
    except _Unusable as error:
        file = LEGACY_ROLES_FILE if error.field in legacy else TOKENIZER_CONFIG
        raise origin.fault(directory, f"{file} has {error}") from None


def read_template_option(flag: str, path: Path) -> str:
    """The text of a template that the operator names. Raises ConfigError, one line."""
    remedy = "give a file with a Jinja template"
    if not path.exists():
        raise ConfigError(f"{flag} is '{path}', which does not exist: {remedy}")
    return _read_template(path, Origin(flag, remedy, ConfigError))


class _Unusable(Exception):
    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{reprlib.repr(value)} as {field}: {remedy}")
        self.field = field


def _object(path: Path, origin: Origin) -> dict[str, Any]:
    return read_json(path, origin) if os.path.lexists(path) else {}


def _template_files(directory: Path, origin: Origin) -> dict[str, str]:
    """Name -> template, of files: they replace all that tokenizer_config.json has."""
    named = {"default": directory / TEMPLATE_FILE}
    for path in sorted((directory / TEMPLATE_FOLDER).glob("*.jinja")):
        named[path.name.removesuffix(".jinja")] = path
    return {
        name: _read_template(path, origin) for name, path in named.items() if os.path.lexists(path)
    }


def _read_template(path: Path, origin: Origin) -> str:
    with opened(path, origin) as file:
        content = file.read(MAX_TEMPLATE_BYTES + 1)
    if len(content) > MAX_TEMPLATE_BYTES:
        raise origin.fault(
            path.parent, f"{path.name} is larger than {MAX_TEMPLATE_BYTES} bytes: {_COPY}"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise origin.fault(path.parent, f"{path.name} is no text ({error}): {_COPY}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _own_roles(fields: dict[str, Any]) -> dict[str, Any]:
    """Take out roles that only this model has. They win over those of the legacy file."""
    names = [name for name in fields if _is_own_role(name) and isinstance(fields[name], str)]
    named = {name: fields.pop(name) for name in names}
    extra = fields.get("extra_special_tokens")
    older = {} if isinstance(extra, list) and extra else fields.get("additional_special_tokens")
    own = _if_object(older) | named | _if_object(extra)
    return own or _if_object(fields.get("model_specific_special_tokens"))


def _if_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_own_role(name: str) -> bool:
    return name.endswith("_token") and name not in ROLES


def _as_added_token(value: Any) -> Any:
    """A value of special_tokens_map.json as tokenizer_config.json has it."""
    return {"__type": "AddedToken", **value} if isinstance(value, dict) else value


def _roles(fields: Mapping[str, Any], own_roles: Mapping[str, Any]) -> dict[str, str]:
    common = {name: _token(name, fields[name]) for name in ROLES if fields.get(name) is not None}
    late = {
        name: _token(name, value)
        for name, value in fields.items()
        if _is_own_role(name) and (isinstance(value, str) or _is_token(value))
    }
    return common | late | {name: _token(name, value) for name, value in own_roles.items()}


def _is_token(value: object) -> bool:
    return isinstance(value, dict) and value.get("__type") == "AddedToken"


def _token(name: str, value: Any) -> str:
    text = value.get("content") if _is_token(value) else value
    if not isinstance(text, str) or not _is_text(text):
        raise _Unusable(name, value, "give the text of a token, or leave it out")
    return text


def _is_text(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which is no character."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _templates(value: Any) -> str | dict[str, str] | None:
    match value:
        case None | str():
            return value
        case dict() if all(isinstance(text, str) for text in value.values()):
            return value
        case list():
            try:
                return _templates({entry["name"]: entry["template"] for entry in value})
            except (KeyError, TypeError):
                pass
    remedy = "give a text, or a list of objects with name and template"
    raise _Unusable("chat_template", value, remedy)
