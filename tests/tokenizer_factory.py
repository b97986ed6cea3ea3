"""Tokenizers of unlike kinds, trained on text made here, as files of a model directory."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordLevelTrainer

from tests.model_factory import _sentences as sentences

SPECIAL = ["<unk>", "<s>", "</s>", "[INST]"]
ALPHABET = [*"abcdefghijklmnopqrstuvwxyz.,!ABCXYZ0123456789", "▁"]
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def texts(num: int = 300) -> list[str]:
    """Spaces anywhere, newlines, other scripts, characters of many code points, tokens as text."""
    dice = random.Random(1)
    parts = [*sentences()[:20], " ", "  ", "   ", "\n", "\r\n\n", "\t", "漢字", "かな", "한국어"]
    parts += [
        "é",
        "e\u0301",
        "ﬁ",
        "Ⅳ",
        "\uff11\uff12",
        "\u3000",
        "👩‍👩‍👧",
        "😀",
        "▁",
        "▁▁",
        "\x00",
        "\ufffd",
    ]
    parts += [
        "<s>",
        "</s>",
        "[INST]",
        "<0x0A>",
        "<x>",
        "<x><x>",
        "aaaaa",
        "ABC",
        "1,234.5",
        "\u1112",
    ]
    return ["", *("".join(dice.choices(parts, k=dice.randint(1, 9))) for _ in range(num - 1))]


def _byte_level(use_regex: bool, **parts: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = parts.get("pre") or pre.ByteLevel(False, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    if "normalizer" in parts:
        tokenizer.normalizer = parts["normalizer"]
    alphabet = pre.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer


def _qwen2() -> Tokenizer:
    split = pre.Split(Regex(QWEN2_PATTERN), "isolated")
    whole = pre.Sequence([split, pre.ByteLevel(False, use_regex=False)])
    return _byte_level(False, pre=whole, normalizer=normalizers.NFC())


def _with_byte_fallback(**parts: Any) -> Tokenizer:
    """Trained with a pre-tokenizer, which some files then leave out."""
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    trained.pre_tokenizer = pre.Metaspace()
    trainer = BpeTrainer(
        vocab_size=700,
        special_tokens=[*SPECIAL, *BYTES],
        initial_alphabet=ALPHABET,
        show_progress=False,
    )
    trained.train_from_iterator(sentences(), trainer)
    content = json.loads(trained.to_str())
    content["added_tokens"] = content["added_tokens"][: len(SPECIAL)]
    content["pre_tokenizer"] = None
    content["model"] |= {"fuse_unk": True}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def _llama2() -> Tokenizer:
    return _with_byte_fallback(
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        ),
    )


def _metaspace() -> Tokenizer:
    return _with_byte_fallback(
        pre_tokenizer=pre.Metaspace(prepend_scheme="first"),
        decoder=decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
    )


def _words(**parts: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre.Whitespace()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    trainer = WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([*sentences(), "0 1 2 3 4 5 6 7 8 9 abc"], trainer)
    return tokenizer


def _digits() -> Tokenizer:
    return _words(
        pre_tokenizer=pre.Sequence([pre.Whitespace(), pre.Digits(individual_digits=True)])
    )


def _lowered() -> Tokenizer:
    parts = [normalizers.NFKC(), normalizers.Strip(), normalizers.Lowercase()]
    return _byte_level(True, normalizer=normalizers.Sequence(parts))


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = UnigramTrainer(
        vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer


def _cut_short() -> Tokenizer:
    tokenizer = _byte_level(True)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9, pad_token="<unk>")
    return tokenizer


def _swallowing() -> Tokenizer:
    """An added token takes the spaces around it."""
    tokenizer = _byte_level(True)
    tokenizer.add_tokens([AddedToken("<x>", lstrip=True, rstrip=True)])
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte level": lambda: _byte_level(True),
    "byte level without regex": lambda: _byte_level(False),
    "byte level, NFKC, strip, lowercase": _lowered,
    "Qwen2": _qwen2,
    "Llama 2": _llama2,
    "Metaspace": _metaspace,
    "unigram": _unigram,
    "words": _words,
    "digits": _digits,
    "truncated and padded": _cut_short,
    "spaces around an added token": _swallowing,
}
"""tokenizer.json of kinds that real models have, and of some that only a library allows."""


def train_sentencepiece(path: Path, **options: Any) -> Path:
    """Write tokenizer.model into the directory `path`."""
    model = io.BytesIO()
    lines = [*sentences(), " ".join(ALPHABET), "aa aaa aaaa  <x>"]
    wanted: dict[str, Any] = {"vocab_size": 600, "model_type": "bpe"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        **wanted | options,
    )
    path.mkdir(exist_ok=True)
    (path / "tokenizer.model").write_bytes(model.getvalue())
    return path


_AS_WRITTEN = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}

SENTENCEPIECE_KINDS: dict[str, dict[str, Any]] = {
    "as Llama 2": {**_AS_WRITTEN, "byte_fallback": True},
    "no space before": {**_AS_WRITTEN, "byte_fallback": True, "add_dummy_prefix": False},
    "normalized": {},
    "normalized with bytes": {"byte_fallback": True, "normalization_rule_name": "nmt_nfkc_cf"},
    "spaces behind": {"treat_whitespace_as_suffix": True},
    "own symbols": {
        **_AS_WRITTEN,
        "byte_fallback": True,
        "user_defined_symbols": ["<x>", "▁▁", "ﬁ"],
        "control_symbols": ["[INST]"],
    },
    "own symbols, normalized": {"user_defined_symbols": ["<x>", "\uff11\uff12"]},
    "unigram": {"model_type": "unigram", "vocab_size": 300},
    "unigram with bytes": {
        **_AS_WRITTEN,
        "model_type": "unigram",
        "vocab_size": 600,
        "byte_fallback": True,
        "user_defined_symbols": ["<x>"],
    },
    "words": {"model_type": "word"},
    "characters": {"model_type": "char"},
}
"""Options of SentencePiece's trainer."""
