"""Every option of the formats of prompts, once."""

import reprlib
from dataclasses import dataclass

from motet.engine.config import Bounded, option
from motet.errors import ConfigError

BASE = "base"
"""Stands for what the base model has, where an option of an adapter would name something else."""


@dataclass(frozen=True, slots=True)
class FormatConfig(Bounded):
    """How prompts are written and what ends answers, where the files should not say."""

    chat_template: str | None = option(
        None, "Jinja file that writes conversations, in place of the model's own template."
    )
    eos_token: tuple[str, ...] = option(
        (), "Text or id of a token that ends answers, beside the model's own ends; repeatable."
    )
    adapter_chat_template: tuple[str, ...] = option(
        (), "NAME=FILE in place of an adapter's own template, or NAME=base; repeatable."
    )
    adapter_eos_token: tuple[str, ...] = option(
        (), "NAME=TOKEN in place of an adapter's own end, or NAME=base for none; repeatable."
    )

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        for flag, given in (
            ("--adapter-chat-template", self.adapter_chat_template),
            ("--adapter-eos-token", self.adapter_eos_token),
        ):
            for text in given:
                if not all(text.partition("=")):
                    what = "FILE" if "template" in flag else "TOKEN"
                    raise ConfigError(
                        f"{flag} is {reprlib.repr(text)}: give it as NAME={what} or NAME={BASE}"
                    )
        if "" in self.eos_token:
            raise ConfigError("--eos-token is '': give the text of a token, or its id")
