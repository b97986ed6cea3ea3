"""A tokenizer as one kind of file has it, before tokenizer_config.json has its say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenizerSource:
    """What a file gives, and what its kind means where tokenizer_config.json says nothing."""

    backend: Tokenizer
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """Role, such as bos_token, -> text of the token."""
    adds_bos: bool = False
    """Whether texts begin with the token of that role."""
