"""What the operator says about the formats of prompts, read and known to be usable."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motet.chat_template import NOT_A_TEMPLATE
from motet.errors import ConfigError
from motet.server.text.format_config import BASE, FormatConfig
from motet.server.text.template import ChatTemplate
from motet.tokenizer_config import read_template_option


@dataclass(frozen=True, slots=True)
class GivenFormats:
    """In place of what the files say. Tokens are texts or ids, as they were given."""

    template: str | None = None
    eos_tokens: tuple[str, ...] = ()
    """Beside the model's own."""
    adapter_templates: Mapping[str, str | None] = field(default_factory=dict)
    """Name of an adapter -> its template; None: the base model's."""
    adapter_eos_tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of an adapter -> its ends beside the base model's."""

    @classmethod
    def read(cls, config: FormatConfig, adapter_names: Iterable[str]) -> "GivenFormats":
        """Raises ConfigError for names of no adapter, and for files that are no templates."""
        names = frozenset(adapter_names)
        template = config.chat_template
        return cls(
            None if template is None else _template("--chat-template", template),
            config.eos_token,
            _templates("--adapter-chat-template", config.adapter_chat_template, names),
            _ends("--adapter-eos-token", config.adapter_eos_token, names),
        )


NOTHING_GIVEN = GivenFormats()


def _templates(flag: str, given: Iterable[str], names: frozenset[str]) -> dict[str, str | None]:
    templates: dict[str, str | None] = {}
    for text in given:
        name, value = _named(flag, text, names)
        if name in templates:
            raise ConfigError(f"{flag} is there twice for '{name}': keep one")
        templates[name] = None if value == BASE else _template(flag, value)
    return templates


def _ends(flag: str, given: Iterable[str], names: frozenset[str]) -> dict[str, tuple[str, ...]]:
    ends: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, value = _named(flag, text, names)
        ends[name] = (*ends.get(name, ()), value)
    for name, values in ends.items():
        if BASE in values:
            if len(values) > 1:
                raise ConfigError(
                    f"{flag} has '{name}={BASE}' and another end for '{name}': keep one of them"
                )
            ends[name] = ()
    return ends


def _named(flag: str, text: str, names: frozenset[str]) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else "name one that is served"
        raise ConfigError(f"{flag} is for {reprlib.repr(name)}, which is no adapter: {remedy}")
    return name, value


def _template(flag: str, file: str) -> str:
    """The text in `file`, if it is a template for conversations."""
    source = read_template_option(flag, Path(file))
    try:
        template = ChatTemplate(source, {})
    except NOT_A_TEMPLATE as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"{flag} is {reprlib.repr(file)}, which cannot be compiled ({reason}): correct it"
        ) from error
    if not template.reads_messages:
        raise ConfigError(
            f"{flag} is {reprlib.repr(file)}, which is no chat template (it never reads "
            "'messages'): give a file such as chat_template.jinja"
        )
    return source
