"""A job becomes n requests for each prompt, with every default resolved, or is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from motet.client.protocol import SamplingFields
from motet.engine import Request, SamplingParams
from motet.errors import RequestError
from motet.server.text.jobs import MAX_CHOICES, Job, Prompt, engine_requests
from tests.model_factory import VOCAB_SIZE
from tests.server.scripted import EOS, an_info

ROOM = 128


def requests_of(
    *prompts: tuple[int, ...],
    eos: tuple[int, ...] = (EOS,),
    job: dict[str, Any] | None = None,
    **fields: Any,
) -> list[Request]:
    named = [Prompt(ids, f"prompt[{index}]") for index, ids in enumerate(prompts or [(5, 6)])]
    asked = Job(prompts=named, fields=SamplingFields(**fields), **(job or {}))
    return engine_requests(asked, "id", an_info(Path(), max_model_len=ROOM), eos)


def sampling_of(**fields: Any) -> SamplingParams:
    return requests_of(**fields)[0].sampling


def refusal_of(*prompts: tuple[int, ...], **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        requests_of(*prompts, **fields)
    return caught.value


def test_choice_k_of_prompt_p_is_at_p_times_n_plus_k() -> None:
    requests = requests_of((5,), (6,), n=3)
    assert [request.request_id for request in requests] == [f"id-{index}" for index in range(6)]
    assert [request.prompt for request in requests] == [(5,)] * 3 + [(6,)] * 3
    assert [request.sampling.choice for request in requests] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("seed", [None, 7])
def test_all_choices_have_the_same_seed(seed: int | None) -> None:
    seeds = {request.sampling.seed for request in requests_of((5,), (6,), n=3, seed=seed)}
    assert len(seeds) == 1
    assert seed is None or seeds == {seed}


def test_every_field_reaches_the_engine() -> None:
    assert sampling_of(
        min_tokens=3,
        temperature=0.5,
        top_p=0.9,
        top_k=-1,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        logit_bias={"7": 1.5, "3": -100},
        seed=-9,
        stop_token_ids=[8, EOS],
        job={"max_tokens": 10, "num_logprobs": 2, "echo": True},
    ) == SamplingParams(
        max_tokens=10,
        min_tokens=3,
        temperature=0.5,
        top_p=0.9,
        top_k=0,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        logit_bias=((7, 1.5), (3, -100)),
        seed=-9,
        stop_token_ids=(EOS, 8),
        num_logprobs=2,
        num_prompt_logprobs=2,
    )


@pytest.mark.parametrize(
    ("ignore_eos", "stops", "expected"),
    [
        (False, [], (2, 9)),
        (True, [], ()),
        (False, [5, 9], (2, 9, 5)),
        (True, [5, 9], (5, 9)),
    ],
)
def test_stop_tokens_are_the_union_with_end_of_sequence(
    ignore_eos: bool, stops: list[int], expected: tuple[int, ...]
) -> None:
    wanted = sampling_of(eos=(2, 9), ignore_eos=ignore_eos, stop_token_ids=stops)
    assert wanted.stop_token_ids == expected


def test_prompt_logprobs_are_asked_for_only_to_be_echoed() -> None:
    assert sampling_of(job={"num_logprobs": 2}).num_prompt_logprobs is None
    assert sampling_of(job={"echo": True}).num_prompt_logprobs is None


@pytest.mark.parametrize(
    ("max_tokens", "default", "min_tokens", "expected"),
    [
        (None, None, 0, ROOM - 2),
        (None, 16, 0, 16),
        (None, 16, 20, 20),
        (None, 1000, 0, ROOM - 2),
        (ROOM - 2, 16, 0, ROOM - 2),
        (5, None, 5, 5),
    ],
)
def test_an_output_is_limited_by_the_wish_the_default_and_the_context(
    max_tokens: int | None, default: int | None, min_tokens: int, expected: int
) -> None:
    job = {"max_tokens": max_tokens, "default_max_tokens": default}
    assert sampling_of(job=job, min_tokens=min_tokens).max_tokens == expected


def test_each_prompt_has_its_own_room() -> None:
    limits = [r.sampling.max_tokens for r in requests_of((5,) * 100, (5,))]
    assert limits == [ROOM - 100, ROOM - 1]


def test_nothing_is_generated_only_to_echo() -> None:
    job = {"max_tokens": 0, "echo": True}
    assert requests_of((5,) * ROOM, job=job)[0].sampling.max_tokens == 0
    error = refusal_of(job={"max_tokens": 0})
    assert error.param == "max_tokens"
    assert "'max_tokens' is 0: it must be at least 1, except" in str(error)


@pytest.mark.parametrize("key", ["-1", "1.5", "x", "", " 5", "٣", str(VOCAB_SIZE), "9" * 5000])
def test_a_bias_for_no_token_is_refused_with_its_key(key: str) -> None:
    error = refusal_of(logit_bias={"5": 1, key: 1})
    assert f"'logit_bias' has the key '{key[:40]}'" in str(error)
    assert error.param == "logit_bias"
    assert len(str(error)) < 200


def test_a_token_has_one_bias_however_it_is_spelled() -> None:
    assert str(refusal_of(logit_bias={"5": 1, "05": 2})) == "'logit_bias' has token 5 twice"


def test_a_stop_token_is_in_the_vocabulary() -> None:
    error = refusal_of(stop_token_ids=[5, VOCAB_SIZE])
    assert f"token 1 of 'stop_token_ids' is {VOCAB_SIZE}: the model's vocab" in str(error)
    assert error.param == "stop_token_ids"


@pytest.mark.parametrize(("num_prompts", "n", "param"), [(5, 103, "n"), (513, 1, "prompt")])
def test_too_many_choices_are_refused_with_both_counts(
    num_prompts: int, n: int, param: str
) -> None:
    error = refusal_of(*[(5,)] * num_prompts, n=n)
    assert f"'prompt' ({num_prompts}) times 'n' ({n})" in str(error)
    assert error.param == param


def test_the_most_choices_are_served() -> None:
    assert len(requests_of(*[(5,)] * 4, n=128)) == MAX_CHOICES


@pytest.mark.parametrize(
    ("prompts", "job", "fields", "param", "says"),
    [
        ([(5,), ()], {}, {}, "prompt", "'prompt[1]' is empty"),
        ([(5,), (5, -1)], {}, {}, "prompt", "token 1 of 'prompt[1]' is -1"),
        ([(5,)], {"max_tokens": 8}, {"min_tokens": 9}, "min_tokens", "at most 'max_tokens'"),
        ([(5,) * 120], {"max_tokens": 9}, {}, "max_tokens", "1 more than the context of 128"),
        ([(5,), (5,) * 128], {}, {}, "prompt", "'prompt[1]' has 128 tokens"),
        ([(5,) * 120], {}, {"min_tokens": 9}, "prompt", "the output up to 9: 1 more"),
    ],
)
def test_what_can_never_be_served_is_refused(
    prompts: list[tuple[int, ...]],
    job: dict[str, Any],
    fields: dict[str, Any],
    param: str,
    says: str,
) -> None:
    error = refusal_of(*prompts, job=job, **fields)
    assert says in str(error)
    assert error.param == param
