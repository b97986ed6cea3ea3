"""Text leaves whole, in order, and never beyond a stop string."""

import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from motet.errors import ModelError, RequestError
from motet.server.text.stop_strings import StopStrings
from motet.server.text.text_stream import TextStream
from motet.server.text.tokenizer import Tokenizer

STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=4)


@given(text=st.text("ab\n", max_size=30), stops=STOPS, data=st.data())
def test_shown_text_is_what_stands_before_the_first_complete_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    finder = StopStrings(stops)
    shown = ""
    rest = text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += finder.push(rest[:size])
        rest = rest[size:]
    shown += finder.flush()

    expected, matched = cut(text, stops)
    assert (shown, finder.matched) == (expected, matched)


@given(text=st.text("ab\n", max_size=30), stops=STOPS)
def test_nothing_shown_is_ever_taken_back(text: str, stops: list[str]) -> None:
    finder = StopStrings(stops)
    shown = ""
    for letter in text:
        shown += finder.push(letter)
        assert cut(text, stops)[0].startswith(shown)


def cut(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The oracle: grow the text letter by letter until it ends in a stop string."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest
    return text, None


@pytest.mark.parametrize("seed", range(50))
def test_streamed_text_equals_the_text_decoded_at_once(tokenizer: Tokenizer, seed: int) -> None:
    ids = [random.Random(seed * 100 + i).randrange(3, 300) for i in range(40)]
    assert stream(tokenizer, ids) == backend_of(tokenizer).decode(ids)


@given(text=st.text(min_size=1, max_size=40), stops=STOPS)
def test_streamed_text_equals_the_decoded_text_cut_at_its_stop(
    tokenizer: Tokenizer, text: str, stops: list[str]
) -> None:
    ids = tokenizer.encode(text)
    assert stream(tokenizer, ids, stops) == cut(text, stops)[0]


def test_a_character_is_never_split(tokenizer: Tokenizer) -> None:
    ids = backend_of(tokenizer).encode("😀", add_special_tokens=False).ids
    detokenizer = tokenizer.detokenizer([])
    pieces = [detokenizer.push(token_id) for token_id in ids]
    assert len(ids) > 1
    assert pieces == [""] * (len(ids) - 1) + ["😀"]


def test_a_character_that_stays_unfinished_is_shown_as_replaced(tokenizer: Tokenizer) -> None:
    ids = backend_of(tokenizer).encode("a😀", add_special_tokens=False).ids
    assert stream(tokenizer, ids[:-1]) == backend_of(tokenizer).decode(ids[:-1])
    assert stream(tokenizer, ids[:-1]).endswith("\ufffd")


def test_special_tokens_have_no_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("hello")
    assert stream(tokenizer, [*ids, 2, *ids, 2]) == "hellohello"


def test_stop_strings_wait_for_min_tokens(tokenizer: Tokenizer) -> None:
    a, b = backend_of(tokenizer).encode("ab", add_special_tokens=False).ids
    text = TextStream(tokenizer.detokenizer([]), StopStrings(["a"]), min_tokens=2)
    assert "".join(text.push(token_id) for token_id in [a, b, b, a, b]) == "abb"
    assert text.matched == "a"


def test_the_first_word_keeps_its_space_after_a_prompt() -> None:
    tokenizer = Tokenizer(sentencepiece_like())
    assert tokenizer.detokenizer([SAY]).push(HELLO) == " hello"
    assert tokenizer.detokenizer([]).push(HELLO) == "hello"
    assert tokenizer.token_text(HELLO) == " hello"


def test_text_that_decodes_otherwise_than_it_was_shown_goes_on_where_it_was() -> None:
    """Byte fallback replaces a whole run of bytes when one is wrong, also those shown before."""
    tokenizer = Tokenizer(sentencepiece_like())
    letter, broken = 3 + ord("e"), 3 + 0xFF
    assert backend_of(tokenizer).decode([letter, broken, HELLO]) == "\ufffd\ufffd hello"
    detokenizer = tokenizer.detokenizer([])
    pieces = [detokenizer.push(token_id) for token_id in (letter, broken, HELLO, SAY)]
    assert pieces == ["e", "", "\ufffd hello", " say"]


@pytest.mark.parametrize("num_words", range(8))
@pytest.mark.parametrize("character", ["é", "漢", "😀"])
def test_a_character_of_bytes_follows_a_long_prompt_of_them(character: str, num_words: int) -> None:
    """Where a context of fixed length begins does not depend on where characters do."""
    tokenizer = Tokenizer(sentencepiece_like())
    ids = [3 + byte for byte in character.encode()]
    detokenizer = tokenizer.detokenizer([*ids * 9, *[SAY] * num_words])
    assert "".join(detokenizer.push(token_id) for token_id in [*ids, *ids]) == character * 2


def test_a_text_with_half_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="half a surrogate pair"):
        tokenizer.encode("\ud800")


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_are_no_text_lose_no_text_around_them(seed: int) -> None:
    tokenizer = Tokenizer(sentencepiece_like())
    rng = random.Random(seed)
    noise = [rng.randrange(3, 259) for _ in range(rng.randrange(100))]
    words = [HELLO, SAY, HELLO]
    assert stream(tokenizer, [*noise, *words]).endswith(" hello say hello")


def test_a_token_reads_alone_as_it_reads_in_a_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("hello world")
    assert "".join(tokenizer.token_text(token_id) for token_id in ids[1:]) == "hello world"


@given(text=st.text(min_size=1, max_size=40))
def test_the_bytes_of_tokens_are_those_of_their_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_a_byte_that_is_no_character_is_still_known() -> None:
    tokenizer = Tokenizer(sentencepiece_like())
    ids = [HELLO, *(3 + byte for byte in "€".encode())]
    assert b"".join(map(tokenizer.token_bytes, ids)) == " hello€".encode()
    assert tokenizer.token_text(ids[1]) == "\ufffd"


def test_a_token_of_the_replacement_character_is_that_character() -> None:
    vocabulary = {"<unk>": 0, "\ufffd": 1}
    backend = Backend(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.decoder = decoders.Fuse()
    tokenizer = Tokenizer(backend)
    assert tokenizer.token_bytes(1) == "\ufffd".encode()


def test_a_prompt_is_spelled_token_by_token(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a😀b")
    spelling = tokenizer.spelled(ids)
    assert spelling.text == "a😀b"
    assert spelling.offsets == (0, 0, *[1] * (len(ids) - 3), 2)  # the first begins the prompt


def test_a_prompt_that_ends_amid_a_character_is_spelled_to_its_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a😀", add_special_tokens=False)[:-1]
    assert tokenizer.spelled(ids).text == backend_of(tokenizer).decode(ids)
    assert len(tokenizer.spelled(ids).offsets) == len(ids)


@given(text=st.text("ab\n", max_size=30), stops=STOPS)
def test_a_stop_string_that_is_kept_is_the_last_of_the_text(text: str, stops: list[str]) -> None:
    finder = StopStrings(stops, keep_match=True)
    shown = "".join(map(finder.push, text)) + finder.flush()
    before, matched = cut(text, stops)
    assert (shown, finder.matched) == (before + (matched or ""), matched)


def test_a_prompt_has_its_beginning_only_if_asked_for(tokenizer: Tokenizer) -> None:
    first, *others = tokenizer.encode("hello")
    assert tokenizer.is_special(first)
    assert tokenizer.encode("hello", add_special_tokens=False) == others


def test_without_tokenizer_files_there_is_no_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(str(tmp_path))
    assert not tokenizer.has_text
    assert stream(tokenizer, [5, 6]) == ""
    assert tokenizer.token_text(7) == "token_id:7"
    with pytest.raises(RequestError, match="send the prompt as a list of token ids"):
        tokenizer.encode("hello")


def test_encoding_lets_other_threads_run(tokenizer: Tokenizer) -> None:
    num_turns = 0
    is_done = threading.Event()

    def count() -> None:
        nonlocal num_turns
        while not is_done.wait(0.001):
            num_turns += 1

    counting = threading.Thread(target=count)
    counting.start()
    tokenizer.encode("a b" * 200_000)
    is_done.set()
    counting.join()
    assert num_turns > 5


def test_a_text_that_cannot_fit_is_known_without_a_look_at_it(tokenizer: Tokenizer) -> None:
    longest = max(backend_of(tokenizer).get_vocab(), key=len)
    assert not tokenizer.is_too_long(longest * 10, max_tokens=10)
    assert tokenizer.is_too_long(longest * 10 + "a", max_tokens=10)
    assert not Tokenizer(None).is_too_long("a", max_tokens=0)


def test_a_broken_tokenizer_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(ModelError, match=r"cannot be loaded .*: download .* or remove tokenizer"):
        Tokenizer.load(str(tmp_path))


def stream(tokenizer: Tokenizer, ids: list[int], stops: list[str] | None = None) -> str:
    text = TextStream(tokenizer.detokenizer([]), StopStrings(stops or []), min_tokens=0)
    shown = ""
    for token_id in ids:
        shown += text.push(token_id)
        if text.matched is not None:
            return shown
    return shown + text.finish()


def backend_of(tokenizer: Tokenizer) -> Backend:
    assert tokenizer._backend is not None
    return tokenizer._backend


HELLO, SAY = 259, 260


def sentencepiece_like() -> Backend:
    """Llama 2's decoder: words begin with a space that is a token's own, bytes where no word is."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁hello", "▁say", "a"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens(["<s>", "</s>"])
    return backend
