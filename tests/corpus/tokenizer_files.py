"""Tokenizers whose tokenizer.json says everything, in all the shapes it takes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, processors
from tokenizers import pre_tokenizers as pre

from tests.corpus.tokenizer_parts import (
    DEEPSEEK_PATTERNS,
    DEEPSEEK_SPECIALS,
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    QWEN_PATTERN,
    QWEN_SPECIALS,
    SPACE,
    SPECIALS,
    assembled,
    byte_level_bpe,
    characters,
    framed,
    plain_bytes,
    spaced_bpe,
    split,
    suffixed_bpe,
    unigram,
    word_level,
    word_piece,
)

Make = Callable[[], Tokenizer]


def _bytes(frame: tuple[str | None, str | None] | None = ("<s>", None), **parts: Any) -> Tokenizer:
    """Byte-level BPE; `parts` over the usual ones."""
    usual = {"pre_tokenizer": pre.ByteLevel(add_prefix_space=False)}
    decoder = {"decoder": decoders.ByteLevel()}
    tokenizer: Tokenizer = assembled(byte_level_bpe(), **usual | decoder | parts)
    if frame is not None:
        tokenizer.post_processor = framed(tokenizer, *frame)
    return tokenizer


def _qwen() -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        byte_level_bpe(QWEN_SPECIALS),
        QWEN_SPECIALS,
        normalizer=normalizers.NFC(),
        pre_tokenizer=split(QWEN_PATTERN),
        decoder=decoders.ByteLevel(),
        post_processor=processors.ByteLevel(trim_offsets=False),
    )
    return tokenizer


def _deepseek(*, has_frame: bool = True) -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        byte_level_bpe(DEEPSEEK_SPECIALS),
        DEEPSEEK_SPECIALS,
        normalizer=normalizers.Sequence([]),
        pre_tokenizer=split(*DEEPSEEK_PATTERNS),
        decoder=decoders.ByteLevel(),
    )
    if has_frame:
        tokenizer.post_processor = framed(tokenizer, DEEPSEEK_SPECIALS[0])
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _llama3() -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        byte_level_bpe(ignore_merges=True),
        pre_tokenizer=split(LLAMA3_PATTERN),
        decoder=decoders.ByteLevel(),
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), framed(tokenizer)]
    )
    return tokenizer


def _spaces_and_bytes(strip: int = 1) -> decoders.Sequence:
    """As Llama 2 decodes; `strip` of the spaces at the beginning."""
    return decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", strip, 0)] if strip else []),
        ]
    )


def _llama2(frame: tuple[str | None, str | None] = ("<s>", None)) -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        spaced_bpe(),
        normalizer=normalizers.Sequence(
            [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        ),
        decoder=_spaces_and_bytes(),
    )
    tokenizer.post_processor = framed(tokenizer, *frame)
    return tokenizer


def _metaspace(scheme: str, *, is_split: bool, strip: int = 1) -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        spaced_bpe(),
        pre_tokenizer=pre.Metaspace(prepend_scheme=scheme, split=is_split),
        decoder=_spaces_and_bytes(strip),
    )
    tokenizer.post_processor = framed(tokenizer)
    return tokenizer


def _unigram(frame: tuple[str | None, str | None], *, has_bytes: bool = False) -> Tokenizer:
    normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    decoder = _spaces_and_bytes() if has_bytes else decoders.Metaspace()
    tokenizer: Tokenizer = assembled(
        unigram(has_bytes=has_bytes),
        normalizer=normalizer,
        pre_tokenizer=pre.Metaspace(prepend_scheme="always"),
        decoder=decoder,
    )
    tokenizer.post_processor = framed(tokenizer, *frame)
    return tokenizer


def _scripts() -> Tokenizer:
    splits = pre.Sequence([pre.UnicodeScripts(), pre.WhitespaceSplit(), pre.Metaspace()])
    tokenizer: Tokenizer = assembled(
        unigram(), pre_tokenizer=splits, decoder=decoders.Metaspace(prepend_scheme="never")
    )
    return tokenizer


def _words(**parts: Any) -> Tokenizer:
    tokenizer: Tokenizer = assembled(word_level(), **parts)
    return tokenizer


def _bert() -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        word_piece(),
        normalizer=normalizers.BertNormalizer(),
        pre_tokenizer=pre.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
    )
    tokenizer.post_processor = framed(tokenizer, "<s>", "</s>")
    return tokenizer


def _suffixed() -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        suffixed_bpe(),
        normalizer=normalizers.Lowercase(),
        pre_tokenizer=pre.Whitespace(),
        decoder=decoders.BPEDecoder(),
    )
    return tokenizer


def _characters() -> Tokenizer:
    tokenizer: Tokenizer = assembled(
        characters(),
        normalizer=normalizers.Replace(" ", "|"),
        pre_tokenizer=pre.Split("", "isolated"),
        decoder=decoders.Sequence([decoders.Replace("|", " "), decoders.Fuse()]),
    )
    return tokenizer


def _with_added_tokens() -> Tokenizer:
    tokenizer = _bytes(normalizer=normalizers.Lowercase())
    tokenizer.add_special_tokens([AddedToken("<extra>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens(
        [
            AddedToken("extra", single_word=True, normalized=True),
            AddedToken("World", normalized=False, lstrip=True),
            AddedToken("[INST]", rstrip=True, normalized=False),
        ]
    )
    return tokenizer


def _cutting() -> Tokenizer:
    """As trainers save it: it cuts and pads whatever it encodes."""
    tokenizer = _bytes()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=24, pad_token="<unk>")
    return tokenizer


FILES: dict[str, Make] = {
    "byte-level": _bytes,
    "bos-and-eos": partial(_bytes, ("<s>", "</s>")),
    "no-frame": partial(_bytes, None),
    "prefix-space": partial(_bytes, pre_tokenizer=pre.ByteLevel(add_prefix_space=True)),
    "no-pattern": partial(_bytes, pre_tokenizer=plain_bytes()),
    "gpt2-pattern": partial(_bytes, pre_tokenizer=split(GPT2_PATTERN)),
    "byte-normaliser": partial(
        _bytes,
        normalizer=normalizers.ByteLevel(),
        pre_tokenizer=pre.Split(Regex(r"Ġ?[^Ġ]+"), "isolated"),
    ),
    "digits-and-punctuation": partial(
        _bytes, pre_tokenizer=pre.Sequence([pre.Digits(True), pre.Punctuation(), plain_bytes()])
    ),
    "nfkc": partial(_bytes, normalizer=normalizers.NFKC()),
    "stripped-lower": partial(
        _bytes,
        normalizer=normalizers.Sequence(
            [
                normalizers.Strip(),
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
            ]
        ),
    ),
    "spaces-replaced": partial(_bytes, normalizer=normalizers.Replace(Regex(r"\s+"), " ")),
    "prepended": partial(_bytes, normalizer=normalizers.Prepend(" ")),
    "added-tokens": _with_added_tokens,
    "cutting": _cutting,
    "qwen": _qwen,
    "deepseek": _deepseek,
    "deepseek-no-frame": partial(_deepseek, has_frame=False),
    "llama3": _llama3,
    "llama2": _llama2,
    "llama2-both-ends": partial(_llama2, ("<s>", "</s>")),
    "metaspace-first": partial(_metaspace, "first", is_split=False),
    "metaspace-always": partial(_metaspace, "always", is_split=True),
    "metaspace-never": partial(_metaspace, "never", is_split=True, strip=0),
    "unigram": partial(_unigram, (None, "</s>")),
    "unigram-bytes": partial(_unigram, ("<s>", None), has_bytes=True),
    "scripts": _scripts,
    "words": partial(_words, pre_tokenizer=pre.Whitespace()),
    "words-lower": partial(
        _words, normalizer=normalizers.Lowercase(), pre_tokenizer=pre.WhitespaceSplit()
    ),
    "word-pieces": _bert,
    "suffixed": _suffixed,
    "characters": _characters,
}
"""Name -> what tokenizer.json holds. Each differs from the others in what it does to TEXTS."""


def end_of(name: str) -> str:
    """The token that ends an answer, as tokenizer_config.json will name it."""
    if name.startswith("deepseek"):
        return DEEPSEEK_SPECIALS[1]
    return QWEN_SPECIALS[2] if name == "qwen" else SPECIALS[2]
