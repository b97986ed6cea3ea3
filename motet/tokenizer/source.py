"""A tokenizer as one kind of file has it, before tokenizer_config.json has its say."""

from dataclasses import dataclass

from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenizerSource:
    """What a file gives, and what its kind means where tokenizer_config.json says nothing."""

    backend: Tokenizer
    bos_token: str | None = None
    eos_token: str | None = None
    adds_bos: bool = False
    """Whether texts begin with the first of them."""
