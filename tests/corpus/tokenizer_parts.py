"""What the tokenizers of the corpus are put together from: trained on the corpus's own texts."""

import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors, trainers

from tests.corpus.texts import TEXTS

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
SPECIALS = (UNK, BOS, EOS)
QWEN_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
DEEPSEEK_SPECIALS = (
    "<\uff5cbegin▁of▁sentence\uff5c>",
    "<\uff5cend▁of▁sentence\uff5c>",
    "<\uff5c▁pad▁\uff5c>",
)
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPACE = "▁"

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = QWEN_PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
DEEPSEEK_PATTERNS = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)


@cache
def sentences() -> tuple[str, ...]:
    """Words with enough repetition to merge, and the texts that will be encoded."""
    dice = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(dice.choices(syllables, k=dice.randint(1, 3))) for _ in range(80)]
    return tuple(" ".join(dice.choices(words, k=8)) for _ in range(60)) + TEXTS


def byte_level_bpe(specials: Sequence[str] = SPECIALS, **options: Any) -> models.BPE:
    """BPE over the characters that stand for bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return models.BPE(*vocabulary(tokenizer), **options)


def spaced_bpe(**options: Any) -> models.BPE:
    """BPE over characters, spaces written as `▁`, with a token for each byte as Llama 2 has."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[UNK], show_progress=False)
    # Only some characters have tokens: bytes must stand for the others.
    tokenizer.train_from_iterator(filter(str.isascii, sentences()), trainer)
    pieces, merges = vocabulary(tokenizer)
    ordered = [piece for piece in sorted(pieces, key=pieces.__getitem__) if piece != UNK]
    vocab = {piece: index for index, piece in enumerate((*SPECIALS, *BYTES, *ordered))}
    return models.BPE(vocab, merges, unk_token=UNK, fuse_unk=True, byte_fallback=True, **options)


def suffixed_bpe() -> models.BPE:
    """BPE whose last piece of a word ends in `</w>`, as the first GPT and CLIP have it."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNK, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIALS),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator([text.lower() for text in sentences()], trainer)
    return models.BPE(*vocabulary(tokenizer), unk_token=UNK, end_of_word_suffix="</w>")


def unigram(*, has_bytes: bool = False) -> models.Unigram:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, unk_token=UNK, special_tokens=list(SPECIALS), show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    state = tokenizer_state(tokenizer)["model"]
    vocab = [(piece, score) for piece, score in state["vocab"]]
    bytes_ = [(piece, 0.0) for piece in BYTES] if has_bytes else []
    return models.Unigram(vocab[:3] + bytes_ + vocab[3:], state["unk_id"], has_bytes)


def word_level() -> models.WordLevel:
    words = sorted({word for text in sentences() for word in text.lower().split()} - {*SPECIALS})
    vocab = {word: index for index, word in enumerate((*SPECIALS, *words))}
    return models.WordLevel(vocab, unk_token=UNK)


def characters() -> models.WordLevel:
    seen = sorted({character for text in sentences() for character in text} - {" "})
    vocab = {character: index for index, character in enumerate((*SPECIALS, "|", *seen))}
    return models.WordLevel(vocab, unk_token=UNK)


def word_piece() -> models.WordPiece:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=list(SPECIALS), show_progress=False
    )
    tokenizer.train_from_iterator([text.lower() for text in sentences()], trainer)
    return models.WordPiece(tokenizer.get_vocab(), unk_token=UNK)


def split(*patterns: str) -> pre_tokenizers.Sequence:
    """Each pattern in turn, then bytes as characters."""
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, plain_bytes()])


def plain_bytes() -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def framed(
    tokenizer: Tokenizer, bos: str | None = BOS, eos: str | None = None
) -> processors.TemplateProcessing:
    """Puts special tokens around a text."""
    parts = [part for part in (bos, "$A", eos) if part is not None]
    known = [(name, tokenizer.token_to_id(name)) for name in parts if name != "$A"]
    return processors.TemplateProcessing(single=" ".join(parts), special_tokens=known)


def assembled(model: Any, specials: Sequence[str | AddedToken] = SPECIALS, **parts: Any) -> Any:
    """A tokenizer of a model, its special tokens, and `parts` by the names of its attributes."""
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(list(specials))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def tokenizer_state(tokenizer: Tokenizer) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    return state


def vocabulary(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Of a trained BPE: pieces, and merges in order."""
    model = tokenizer_state(tokenizer)["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]
