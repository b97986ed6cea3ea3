"""Contract 2.5.4 to 2.5.6: seeds, stops and the length of outputs."""

from typing import Any

import pytest

from tests.contract.contract_server import (
    CHAT,
    MAX_MODEL_LEN,
    SURFACES,
    Api,
    Models,
    Surface,
    both_surfaces,
    error_in,
    only_choice,
    serving,
)

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 16}

EOS = 2
ONLY_EOS = {"logit_bias": {str(EOS): 100}}
"""The model ends its answer as soon as it may."""


@both_surfaces
@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1, -(2**63)])
def test_2_5_4_the_same_seed_gives_the_same_text(api: Api, surface: Surface, seed: int) -> None:
    wish = {"seed": seed, "n": 3, "max_tokens": 24}
    first, second = (
        [surface.text(choice) for choice in api.ask(surface, **wish)["choices"]] for _ in "12"
    )
    assert first == second
    assert len(set(first)) == 3


@both_surfaces
def test_2_5_4_another_seed_and_no_seed_give_another_text(api: Api, surface: Surface) -> None:
    wishes: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2}, {}, {}]
    assert len({api.text(surface, **wish, max_tokens=24) for wish in wishes}) == 4


@both_surfaces
@pytest.mark.parametrize(
    ("seed", "bound"), [(-(2**63) - 1, "greater_than_equal"), (2**63, "less_than_equal")]
)
def test_2_5_4_a_seed_beyond_64_bits_is_refused_in_the_words_of_vllm(
    api: Api, surface: Surface, seed: int, bound: str
) -> None:
    answer = api.http.post(surface.path, json=surface.beginning | {"seed": seed})
    error = error_in(answer, 400)
    assert (error["param"], error["code"]) == ("seed", bound)
    assert bound in answer.text


@both_surfaces
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
def test_2_5_5_a_stop_string_ends_the_text_and_is_named(
    api: Api, surface: Surface, as_list: bool, keeps: bool
) -> None:
    free = api.text(surface, **GREEDY)
    stop = free[6:8]
    end = free.index(stop) + (len(stop) if keeps else 0)
    wish: dict[str, Any] = {"stop": ["never-comes", stop] if as_list else stop}
    answer = api.ask(surface, **GREEDY, **wish, include_stop_str_in_output=keeps)
    choice = only_choice(answer)
    assert surface.text(choice) == free[:end]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


@both_surfaces
def test_2_5_5_a_stop_token_ends_the_text_and_is_named(api: Api, surface: Surface) -> None:
    free = only_choice(api.ask(surface, **GREEDY, return_token_ids=True))["token_ids"]
    wish = GREEDY | {"stop_token_ids": [free[5]], "return_token_ids": True}
    choice = only_choice(api.ask(surface, **wish))
    assert choice["token_ids"] == free[: free.index(free[5]) + 1]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", free[5])


@both_surfaces
def test_2_5_5_the_limit_of_the_length_has_no_stop_reason(api: Api, surface: Surface) -> None:
    choice = only_choice(api.ask(surface, **GREEDY))
    assert (choice["finish_reason"], choice["stop_reason"]) == ("length", None)


@both_surfaces
@pytest.mark.parametrize("num_tokens", [1, 7, 33])
def test_2_5_6_ignore_eos_generates_exactly_max_tokens(
    api: Api, surface: Surface, num_tokens: int
) -> None:
    answer = api.ask(surface, max_tokens=num_tokens, ignore_eos=True, **ONLY_EOS)
    assert answer["usage"]["completion_tokens"] == num_tokens
    assert only_choice(answer)["finish_reason"] == "length"


@both_surfaces
def test_2_5_6_min_tokens_delays_the_end_of_sequence(api: Api, surface: Surface) -> None:
    assert api.ask(surface, max_tokens=20, **ONLY_EOS)["usage"]["completion_tokens"] == 1
    answer = api.ask(surface, max_tokens=20, min_tokens=9, **ONLY_EOS)
    assert answer["usage"]["completion_tokens"] == 10
    assert only_choice(answer)["finish_reason"] == "stop"


@both_surfaces
def test_2_5_6_min_tokens_delays_stop_strings(api: Api, surface: Surface) -> None:
    free = api.text(surface, **GREEDY)
    wish = GREEDY | {"stop": [free[0]], "min_tokens": 8}
    assert api.ask(surface, **wish | {"min_tokens": 0})["usage"]["completion_tokens"] < 8
    assert api.ask(surface, **wish)["usage"]["completion_tokens"] >= 8


def test_2_5_6_without_max_tokens_chat_has_the_rest_of_the_context(models: Models) -> None:
    with serving(models, max_model_len=48) as api:
        usage = api.ask(CHAT, ignore_eos=True)["usage"]
        assert usage["total_tokens"] == 48
        usage = api.ask(prompt=[5] * 40, ignore_eos=True)["usage"]
        assert usage["total_tokens"] == 48


def test_2_5_6_without_max_tokens_a_completion_has_the_sixteen_of_openai(api: Api) -> None:
    assert api.ask(ignore_eos=True)["usage"]["completion_tokens"] == 16


TOO_LONG: dict[str, tuple[str, str, Any]] = {
    "output of a completion": ("completions", "max_tokens", MAX_MODEL_LEN),
    "output of a chat": ("chat", "max_completion_tokens", MAX_MODEL_LEN),
    "token ids": ("completions", "prompt", [5] * MAX_MODEL_LEN),
    "text": ("completions", "prompt", "x " * MAX_MODEL_LEN),
    "messages": ("chat", "messages", [{"role": "user", "content": "x " * MAX_MODEL_LEN}]),
}
"""What is too long -> where, the field and its value."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("where", "field", "value"), TOO_LONG.values(), ids=TOO_LONG)
def test_2_5_6_what_never_fits_the_context_is_refused(
    api: Api, where: str, field: str, value: Any, stream: bool
) -> None:
    error = api.refusal(SURFACES[where], **{field: value}, stream=stream)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] in (field, "max_tokens")
