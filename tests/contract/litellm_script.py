"""What a user of `litellm` does: python litellm_script.py URL. Ends with its version."""

import sys
from importlib.metadata import version
from typing import Any

import litellm

MESSAGES = [{"role": "user", "content": "a b c"}]


def main(url: str) -> None:
    server: dict[str, Any] = {"api_base": f"{url}/v1", "api_key": "none", "num_retries": 0}
    for check in CHECKS:
        check(server)
    print(version("litellm"))


def chats(server: dict[str, Any]) -> None:
    answer = litellm.completion("openai/tuned", MESSAGES, max_tokens=8, temperature=0, **server)
    [choice] = answer.choices
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert 1 <= answer.usage.completion_tokens <= 8


def streams_a_chat(server: dict[str, Any]) -> None:
    fixed: dict[str, Any] = {"max_tokens": 8, "temperature": 0}
    whole = litellm.completion("openai/tuned", MESSAGES, **fixed, **server)
    stream = litellm.completion("openai/tuned", MESSAGES, stream=True, **fixed, **server)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert said == whole.choices[0].message.content


def completes(server: dict[str, Any]) -> None:
    answer = litellm.text_completion(
        model="text-completion-openai/tiny", prompt="a b c", max_tokens=8, **server
    )
    assert answer.choices[0].text is not None


def understands_errors(server: dict[str, Any]) -> None:
    try:
        litellm.completion("openai/nobody", MESSAGES, **server)
    except litellm.NotFoundError as error:
        assert "nobody" in str(error)
    else:
        raise AssertionError("NotFoundError was not raised")


CHECKS = (chats, streams_a_chat, completes, understands_errors)


if __name__ == "__main__":
    main(sys.argv[1])
