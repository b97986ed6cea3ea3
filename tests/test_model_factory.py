"""What every other test builds on."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.model_factory import MAKERS, VOCAB_SIZE, make_tokenizer


@pytest.mark.parametrize("architecture", MAKERS)
def test_equal_seeds_give_equal_bytes(tmp_path: Path, architecture: str) -> None:
    first, again, other = (
        (MAKERS[architecture](tmp_path / str(i), seed=seed) / "model.safetensors").read_bytes()
        for i, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first != other


def test_tokenizer_round_trips_any_text(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tokenizer(tmp_path))
    text = "bada gimo, 42 ✓ naïve\n"
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id == 1
    assert tokenizer.eos_token_id == 2
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer) == VOCAB_SIZE
