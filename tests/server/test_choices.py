"""A choice reads tokens up to the end of its text, without an engine, a loop or HTTP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from motet.client.protocol import SamplingFields
from motet.engine import FinishReason, Request, TokenOutput
from motet.errors import RequestError, Unavailable
from motet.server.text.choices import Choice, Delta, choices_of, merged
from motet.server.text.jobs import Job, Prompt, engine_requests
from motet.server.text.tokenizer import Tokenizer
from tests.server.scripted import EOS, a_logprob, an_info, an_output

BOS = 1  # a special token


def some_choices(
    tokenizer: Tokenizer, *prompts: str, job: dict[str, Any] | None = None, **fields: Any
) -> list[Choice]:
    ids = [Prompt(tuple(tokenizer.encode(prompt))) for prompt in prompts or ["say"]]
    asked = Job(prompts=ids, fields=SamplingFields(**fields), **(job or {}))
    return choices_of(asked, engine_requests(asked, "id", an_info(Path()), (EOS,)), tokenizer)


def outputs_of(request: Request, ids: Sequence[int], end: FinishReason) -> list[TokenOutput]:
    ends = [None] * (len(ids) - 1) + [end]
    return [an_output(request, *entry) for entry in zip(range(len(ids)), ids, ends, strict=True)]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def read(
    tokenizer: Tokenizer, ids: Sequence[int], end: FinishReason = FinishReason.LENGTH, **fields: Any
) -> Delta:
    """One by one, up to the last piece; all of it as one."""
    [choice] = some_choices(tokenizer, **fields)
    deltas = []
    for output in outputs_of(choice.request, ids, end):
        deltas.append(choice.read([output]))
        if choice.is_finished:
            break
    assert choice.is_finished
    [again] = some_choices(tokenizer, **fields)
    assert again.read(outputs_of(again.request, ids, end)) == merged(deltas)
    return merged(deltas)


def test_a_text_ends_with_its_tokens(tokenizer: Tokenizer) -> None:
    ids = ids_of(tokenizer, "a 😀")
    whole = read(tokenizer, ids)
    assert (whole.text, whole.finish_reason, whole.stop_reason) == ("a 😀", "length", None)
    assert [token.token_id for token in whole.tokens] == ids


def test_a_special_token_amid_a_text_is_no_text(tokenizer: Tokenizer) -> None:
    [letter] = ids_of(tokenizer, "a")
    whole = read(tokenizer, [letter, BOS, letter])
    assert whole.text == "aa"
    assert [token.is_text for token in whole.tokens] == [True, False, True]


def test_end_of_sequence_is_a_token_that_is_no_text(tokenizer: Tokenizer) -> None:
    whole = read(tokenizer, [*ids_of(tokenizer, "a"), EOS], FinishReason.STOP)
    assert (whole.text, whole.finish_reason, whole.stop_reason) == ("a", "stop", None)
    assert [token.is_text for token in whole.tokens] == [True, False]


@pytest.mark.parametrize(
    ("keeps", "text"), [(False, "one t"), (True, "one two")], ids=["cut", "kept"]
)
def test_a_stop_string_ends_the_text_and_names_itself(
    tokenizer: Tokenizer, keeps: bool, text: str
) -> None:
    ids = ids_of(tokenizer, "one two three")
    whole = read(tokenizer, ids, stop=["x", "wo"], include_stop_str_in_output=keeps)
    assert (whole.text, whole.finish_reason, whole.stop_reason) == (text, "stop", "wo")
    assert len(whole.tokens) < len(ids)


@pytest.mark.parametrize(("keeps", "text"), [(False, "a"), (True, "ab")])
def test_a_stop_token_ends_the_text_and_names_itself(
    tokenizer: Tokenizer, keeps: bool, text: str
) -> None:
    a, b = ids_of(tokenizer, "ab")
    fields = {"stop_token_ids": [b], "include_stop_str_in_output": keeps}
    whole = read(tokenizer, [a, b], FinishReason.STOP, **fields)
    assert (whole.text, whole.finish_reason, whole.stop_reason) == (text, "stop", b)
    assert [token.is_text for token in whole.tokens] == [True, keeps]


def test_end_of_sequence_is_kept_as_nothing(tokenizer: Tokenizer) -> None:
    [a] = ids_of(tokenizer, "a")
    fields = {"include_stop_str_in_output": True}
    assert read(tokenizer, [a, EOS], FinishReason.STOP, **fields).text == "a"


def test_what_was_held_back_is_text_when_no_stop_string_follows(tokenizer: Tokenizer) -> None:
    whole = read(tokenizer, [*ids_of(tokenizer, "one tw"), EOS], FinishReason.STOP, stop="two")
    assert (whole.text, whole.stop_reason) == ("one tw", None)


def test_stop_strings_wait_for_min_tokens(tokenizer: Tokenizer) -> None:
    whole = read(tokenizer, ids_of(tokenizer, "aaaa"), stop="a", min_tokens=2)
    assert (whole.text, len(whole.tokens), whole.stop_reason) == ("aa", 3, "a")


def test_nothing_is_read_beyond_the_stop_string(tokenizer: Tokenizer) -> None:
    ids = ids_of(tokenizer, "ab")
    [choice] = some_choices(tokenizer, stop="b")
    delta = choice.read(outputs_of(choice.request, [*ids, 9999], FinishReason.LENGTH))
    assert choice.is_finished
    assert (delta.text, [t.token_id for t in delta.tokens]) == ("a", ids)


def test_tokens_say_where_their_text_starts(tokenizer: Tokenizer) -> None:
    ids = ids_of(tokenizer, "ab😀c")
    offsets = [token.text_offset for token in read(tokenizer, ids).tokens]
    assert offsets == [0, 1, *[2] * (len(ids) - 3), 3]


@pytest.mark.parametrize("logprobs", [None, 0, 2])
@pytest.mark.parametrize("max_tokens", [0, 1])
def test_an_echo_begins_with_the_prompt(
    tokenizer: Tokenizer, logprobs: int | None, max_tokens: int
) -> None:
    job = {"echo": True, "num_logprobs": logprobs, "max_tokens": max_tokens}
    for choice in some_choices(tokenizer, "one 😀", "two", n=2, job=job):
        ids = ids_of(tokenizer, "a") if max_tokens else [None]
        output = an_output(choice.request, 0, ids[0], FinishReason.LENGTH)
        delta = choice.read([output])
        prompt = ("one 😀", "two")[choice.index // 2]
        assert delta.text == prompt + "a" * max_tokens
        assert [token.text_offset for token in delta.tokens] == [len(prompt)] * max_tokens
        if logprobs is None:
            assert delta.echoed == ()
            continue
        assert [token.token_id for token in delta.echoed] == list(choice.request.prompt)
        first, *others = delta.echoed
        assert (first.logprob, first.top, first.text_offset) == (None, (), 0)
        entries = [a_logprob(token.token_id, logprobs) for token in others]
        assert [(t.logprob, t.top) for t in others] == [(e.logprob, e.top) for e in entries if e]


def test_an_echo_is_read_once(tokenizer: Tokenizer) -> None:
    whole = read(tokenizer, ids_of(tokenizer, "ab"), job={"echo": True, "num_logprobs": 0})
    assert whole.text == "sayab"
    assert len(whole.echoed) == len(tokenizer.encode("say"))


def test_the_same_is_generated_with_and_without_echo(tokenizer: Tokenizer) -> None:
    """Also where the prompt ends amid a character."""
    *begun, last = ids_of(tokenizer, "😀")
    texts = []
    for echo in (True, False):
        prompt = Prompt(tuple(begun))
        job = Job(prompts=[prompt], fields=SamplingFields(), echo=echo)
        [choice] = choices_of(job, engine_requests(job, "id", an_info(Path()), (EOS,)), tokenizer)
        texts.append(choice.read(outputs_of(choice.request, [last], FinishReason.LENGTH)).text)
    assert texts[0] == tokenizer.spelled(begun).text + texts[1]


@pytest.mark.parametrize(
    ("reason", "kind", "code"),
    [
        (FinishReason.REFUSED, RequestError, "context_length_exceeded"),
        (FinishReason.OVERFLOW, RequestError, "non_finite_output"),
        (FinishReason.ERROR, Unavailable, "unavailable"),
        (FinishReason.ABORT, Unavailable, "unavailable"),
    ],
)
@pytest.mark.parametrize("echo", [True, False])
def test_a_failure_is_no_end(
    tokenizer: Tokenizer,
    reason: FinishReason,
    kind: type[Exception],
    code: str | None,
    echo: bool,
) -> None:
    [choice] = some_choices(tokenizer, job={"echo": echo, "num_logprobs": 1})
    output = TokenOutput("id-0", 0, None, finish_reason=reason, error="told")
    delta = choice.read([output])
    assert choice.is_finished
    assert (delta.text, delta.finish_reason) == ("", None)
    assert isinstance(delta.failure, kind)
    assert getattr(delta.failure, "code", None) == code
    assert (str(delta.failure) == "told") is True


def test_stop_strings_need_a_tokenizer() -> None:
    job = Job(prompts=[Prompt((5,))], fields=SamplingFields(stop="x"))
    with pytest.raises(RequestError, match="'stop' needs text"):
        choices_of(job, engine_requests(job, "id", an_info(Path()), (EOS,)), Tokenizer(None))
