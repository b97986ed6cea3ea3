"""Keys of patterns mean what PEFT makes of them, and take no longer than they may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft.utils.other import get_pattern_key

from motet.memory.device import peft_patterns
from motet.memory.device.peft_patterns import BadPattern, Patterns

PATHS = (
    "layers.1.self_attn.q_proj",
    "layers.11.self_attn.q_proj",
    "lm_head",
    "layers.1.mlp.up_proj",
)

KEYS = (
    "q_proj", "self_attn.q_proj", "self.attn.q.proj", ".q_proj", "attn.q_proj", "proj", "lm_head",
    "layers.1.*", r"layers\.1\..*", "layers.[0-9]+.mlp.*", "^layers.1.self_attn.q_proj", "",
    "(q|up)_proj", r"layers\.\d{2}\..*", ".", "q_proj|lm_head", "(?!lm)[a-z_]+", "1.mlp.up_proj$",
    "layers.1.{2,}q_proj",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_fits_what_it_fits_in_peft(key: str, path: str) -> None:
    fits = get_pattern_key([key, "another"], path) == key
    assert Patterns("rank_pattern", {key: 1}).find(path, 0) == fits


@given(st.lists(st.text("ab._", max_size=6), max_size=5), st.text("ab._", min_size=1, max_size=12))
def test_the_first_of_plain_keys_decides(keys: list[str], path: str) -> None:
    values = dict(zip(keys, keys, strict=True))
    assert Patterns("rank_pattern", values).find(path, path) == get_pattern_key(keys, path)


def test_expressions_are_given_up_when_all_together_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(peft_patterns, "monotonic", lambda: 0.125 * next(ticks))
    patterns = Patterns("alpha_pattern", {r"x\d": 1.0, "q_proj": 2.0})
    for _ in range(3):
        assert patterns.find("q_proj", 0.0) == 2
    with pytest.raises(BadPattern, match=r"alpha_pattern in .* key 'x\\\\d' takes too long"):
        patterns.find("q_proj", 0.0)


def test_names_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peft_patterns, "TIME_S", 0.0)
    assert Patterns("rank_pattern", {"layers.1.q_proj": 1}).find("model.layers.1.q_proj", 0) == 1
