"""What a user of the `openai` package does, whichever version: python openai_script.py URL.

Runs in a process of its own, on nothing but that package. Ends with its version.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import openai

E = TypeVar("E", bound=openai.APIError)

PROMPT = "a b c"
MESSAGES = [{"role": "user", "content": "a b c"}]
FIXED: dict[str, Any] = {"temperature": 0, "max_tokens": 8, "extra_body": {"ignore_eos": True}}


def main(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    for check in CHECKS:
        check(client)
    print(openai.__version__)


def lists_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tuned"]
    assert client.models.retrieve("tuned").id == "tuned"


def completes(client: Any) -> None:
    answer = client.completions.create(model="tuned", prompt=PROMPT, **FIXED)
    [choice] = answer.choices
    assert choice.text
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert answer._request_id


def streams_a_completion(client: Any) -> None:
    whole = client.completions.create(model="tuned", prompt=PROMPT, **FIXED)
    stream = client.completions.create(
        model="tuned", prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **FIXED
    )
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage.completion_tokens == 8


def chats(client: Any) -> None:
    answer = client.chat.completions.create(model="tuned", messages=MESSAGES, **FIXED)
    [choice] = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer._request_id


def streams_a_chat(client: Any) -> None:
    whole = client.chat.completions.create(model="tuned", messages=MESSAGES, **FIXED)
    stream = client.chat.completions.create(
        model="tuned",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        **FIXED,
    )
    *chunks, last = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["length"]
    assert last.choices == []
    assert last.usage == whole.usage


def accepts_the_new_name_of_max_tokens(client: Any) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_completion_tokens=3, extra_body={"ignore_eos": True}
    )
    assert answer.usage.completion_tokens == 3


def wants_several_choices(client: Any) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=MESSAGES, n=2, seed=3, max_tokens=8
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    stream = client.completions.create(model="tiny", prompt=PROMPT, n=2, stream=True, max_tokens=4)
    ended = [c.choices[0].index for c in stream if c.choices[0].finish_reason]
    assert sorted(ended) == [0, 1]


def reads_logprobs(client: Any) -> None:
    [choice] = client.completions.create(model="tuned", prompt=PROMPT, logprobs=2, **FIXED).choices
    assert "".join(choice.logprobs.tokens) == choice.text
    assert all(logprob <= 0 for logprob in choice.logprobs.token_logprobs)
    assert {len(top) for top in choice.logprobs.top_logprobs} <= {2, 3}
    [choice] = client.chat.completions.create(
        model="tuned", messages=MESSAGES, logprobs=True, top_logprobs=2, **FIXED
    ).choices
    assert len(choice.logprobs.content) == 8
    assert {len(token.top_logprobs) for token in choice.logprobs.content} == {2}


def stops(client: Any) -> None:
    whole = client.completions.create(model="tuned", prompt=PROMPT, **FIXED).choices[0].text
    stop = whole[len(whole) // 2]
    [choice] = client.completions.create(model="tuned", prompt=PROMPT, stop=stop, **FIXED).choices
    assert choice.finish_reason == "stop"
    assert choice.text == whole.partition(stop)[0]


def understands_errors(client: Any) -> None:
    for create, prompt in (
        (client.completions.create, {"prompt": PROMPT}),
        (client.chat.completions.create, {"messages": MESSAGES}),
    ):
        unknown = _raised(openai.NotFoundError, create, model="nobody", **prompt)
        assert (unknown.code, unknown.param) == ("model_not_found", "model")
        assert isinstance(unknown.body, dict)
        assert unknown.body["message"] in unknown.message
        assert unknown.request_id
        bad = _raised(openai.BadRequestError, create, model="tiny", temperature=3, **prompt)
        assert bad.param == "temperature"


def sends_a_request_id(client: Any) -> None:
    raw = client.completions.with_raw_response.create(
        model="tiny", prompt=PROMPT, max_tokens=1, extra_headers={"X-Request-Id": "mine"}
    )
    assert raw.headers["x-request-id"] == "mine"


CHECKS = (
    lists_models,
    completes,
    streams_a_completion,
    chats,
    streams_a_chat,
    accepts_the_new_name_of_max_tokens,
    wants_several_choices,
    reads_logprobs,
    stops,
    understands_errors,
    sends_a_request_id,
)


def _raised(kind: type[E], call: Callable[..., Any], **arguments: Any) -> E:
    try:
        call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


if __name__ == "__main__":
    main(sys.argv[1])
