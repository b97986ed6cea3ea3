"""tokenizer.model as SentencePiece itself trains it."""

import io
from functools import cache
from pathlib import Path

import sentencepiece

from tests.corpus.tokenizer_parts import sentences


def write_sentencepiece(path: Path, algorithm: str) -> None:
    path.write_bytes(_trained(algorithm))


@cache
def _trained(algorithm: str) -> bytes:
    """With the settings of Llama 2: a token for each byte, digits alone, spaces kept."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=(text for text in sentences() if text.isascii()),
        model_writer=model,
        model_type=algorithm,
        vocab_size=400,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    return model.getvalue()
