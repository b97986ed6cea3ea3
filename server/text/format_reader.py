"""What adapters bring for their prompts: read from their directories, compared with the base's."""

import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from motet.chat_template import NOT_A_TEMPLATE, not_compiled, template_source
from motet.errors import ConfigError
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats
from motet.server.text.prompt_format import PromptFormat
from motet.server.text.template import ChatTemplate
from motet.server.text.tokenizer import Tokenizer
from motet.server.text.tokenizer_comparison import TokenizerComparison
from motet.tokenizer_config import TokenizerConfig, read_tokenizer_config

_TOKEN_ID = re.compile(r"[0-9]{1,10}")
_CompiledKey = tuple[str, frozenset[tuple[str, str]]]
"""Source and special tokens of a template."""


@dataclass(frozen=True, slots=True)
class FoundFormat:
    """Of one adapter."""

    format: PromptFormat
    """The very one of the base model where nothing differs."""
    differences: tuple[str, ...]
    """Between the two, as requests meet them."""
    faults: tuple[str, ...]
    """What the adapter was trained with and cannot have here."""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that the operator may want to know."""
        return (*self.differences, *self.faults)


class FormatReader:
    """Knows one base model. What many adapters have alike is compiled and compared once.

    It keeps no adapter's template alive.
    """

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizer,
        eos_token_ids: tuple[int, ...],
        vocab_size: int,
        given: GivenFormats = NOTHING_GIVEN,
    ) -> None:
        """`eos_token_ids` are those that the model's files name.

        Raises ModelError, and ConfigError for what is given and cannot be had with this model.
        """
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._given = given
        self._comparison = TokenizerComparison(model, tokenizer)
        self._compiled: MutableMapping[_CompiledKey, ChatTemplate] = WeakValueDictionary()
        config = read_tokenizer_config(Path(model))
        self._special_tokens = tokenizer.special_tokens
        own_source = template_source(Path(model), config)
        source = own_source if given.template is None else given.template
        self._base_sources = {_trimmed(text) for text in (own_source, source) if text is not None}
        self.base = PromptFormat(
            self._base_template(model, source),
            _united(eos_token_ids, self._ids("--eos-token", given.eos_tokens)),
        )
        self._given_ends = {
            name: self._ids("--adapter-eos-token", texts)
            for name, texts in given.adapter_eos_tokens.items()
        }

    def read(self, name: str, directory: str) -> FoundFormat:
        """Of the adapter that is served as `name`. Raises AdapterError for broken files."""
        config = read_tokenizer_config(Path(directory), is_adapter=True)
        template = self._template(name, Path(directory), config)
        format = PromptFormat(template, self._ends(name, config))
        if format == self.base:
            format = self.base
        faults = (
            *self._template_faults(template, name, config),
            *self._end_faults(name, config),
            *self._comparison.faults(directory, unused=config.special_tokens.get("pad_token")),
        )
        return FoundFormat(format, tuple(self._differences(format)), faults)

    def _base_template(self, model: str, source: str | None) -> ChatTemplate | None:
        given = (self._given.template, *self._given.adapter_templates.values())
        if any(text is not None for text in given) and not self._tokenizer.has_text:
            raise ConfigError(
                f"a chat template is given, but the model '{model}' has no tokenizer: add "
                "tokenizer.json to it, or leave --chat-template and --adapter-chat-template out"
            )
        if source is None or not self._tokenizer.has_text:
            return None
        return self._compile(source, self._special_tokens, Path(model), is_adapter=False)

    def _template(self, name: str, directory: Path, config: TokenizerConfig) -> ChatTemplate | None:
        is_given = name in self._given.adapter_templates
        if is_given:
            source = self._given.adapter_templates[name]
        else:
            source = template_source(directory, config, is_adapter=True)
        if source is None or not self._tokenizer.has_text:
            return self.base.template
        special_tokens = config.special_tokens or self._special_tokens
        template = self._compile(source, special_tokens, directory, is_adapter=True)
        if not is_given and _trimmed(source) in self._base_sources:
            copied = self._compile(source, self._special_tokens, directory, is_adapter=True)
            if template.special_tokens == copied.special_tokens:
                return self.base.template
        return template

    def _template_faults(
        self, template: ChatTemplate | None, name: str, config: TokenizerConfig
    ) -> Iterator[str]:
        if template is self.base.template:
            if config.chat_template is not None and not self._tokenizer.has_text:
                yield "template is not used: the model has no tokenizer"
            return
        assert template is not None  # which is the base's, where there is none
        for role, text in template.special_tokens.items():
            if self._known_id(text) is None:
                yield (
                    f"{role} {text!r:.80}, which its template writes, is no token of the model: "
                    "prompts get the ids of its pieces, with which the adapter was not trained"
                )

    def _ends(self, name: str, config: TokenizerConfig) -> tuple[int, ...]:
        """The base model's, and its own beside them."""
        if name in self._given_ends:
            return _united(self.base.eos_token_ids, self._given_ends[name])
        own = self._known_id(config.special_tokens.get("eos_token"))
        return _united(self.base.eos_token_ids, () if own is None else (own,))

    def _end_faults(self, name: str, config: TokenizerConfig) -> Iterator[str]:
        text = config.special_tokens.get("eos_token")
        if text is None or name in self._given_ends or self._known_id(text) is not None:
            return
        reason = "no token of the model" if self._tokenizer.has_text else "not used"
        yield (
            f"eos_token {text!r:.80} is {reason}, so it ends no answer: name the right end with "
            f"--adapter-eos-token {name}=TOKEN, or {name}=base"
        )

    def _differences(self, format: PromptFormat) -> Iterator[str]:
        if format.template is not self.base.template:
            yield "template differs from the base's"
        added = [id for id in format.eos_token_ids if id not in self.base.eos_token_ids]
        if added:
            yield f"ends differ: adds {', '.join(map(self._spelt, added))}"

    def _compile(
        self,
        source: str,
        special_tokens: Mapping[str, str],
        directory: Path,
        *,
        is_adapter: bool,
    ) -> ChatTemplate:
        key = _trimmed(source), frozenset(special_tokens.items())
        template = self._compiled.get(key)
        if template is None:
            try:
                self._compiled[key] = template = ChatTemplate(source, special_tokens)
            except NOT_A_TEMPLATE as error:
                raise not_compiled(directory, error, is_adapter=is_adapter) from error
        return template

    def _ids(self, flag: str, texts: Iterable[str]) -> tuple[int, ...]:
        """Of tokens as the operator names them. Raises ConfigError."""
        return tuple(self._id(flag, text) for text in texts)

    def _id(self, flag: str, text: str) -> int:
        id = int(text) if _TOKEN_ID.fullmatch(text) else self._known_id(text)
        if id is None or id >= self._vocab_size:
            raise ConfigError(
                f"{flag} has {reprlib.repr(text)}, which is no token of the model: give the text "
                f"of one as its tokenizer has it, or an id of 0 to {self._vocab_size - 1}"
            )
        return id

    def _known_id(self, text: str | None) -> int | None:
        """Of a token that the model can read and say."""
        id = None if text is None else self._tokenizer.token_id(text)
        return id if id is not None and id < self._vocab_size else None

    def _spelt(self, id: int) -> str:
        if not self._tokenizer.has_text:
            return str(id)
        [piece] = self._tokenizer.pieces([id])
        return f"{piece!r:.80} ({id})"


def _trimmed(source: str) -> str:
    """Jinja drops one newline at the end: files have it where JSON has not."""
    return source.removesuffix("\n")


def _united(ids: Iterable[int], more: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((*ids, *more)))
