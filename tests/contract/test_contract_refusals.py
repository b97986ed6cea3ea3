"""Contract 2.5.7: what is no prompt, and bodies that are none."""

from typing import Any

import pytest

from tests.contract.contract_server import CHAT, Api, Surface, both_surfaces, error_in

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 16}

BAD_ANYWHERE: dict[str, dict[str, Any]] = {
    "bias of no token": {"logit_bias": {"320": 1}},
    "bias of no number": {"logit_bias": {"a": 1}},
    "bias below every token": {"logit_bias": {"-1": 1}},
    "stop token of no vocabulary": {"stop_token_ids": [320]},
    "stop token below every token": {"stop_token_ids": [-1]},
}
BAD_PROMPTS: dict[str, Any] = {"no text": "", "no prompts": [], "no token ids": [[]]}
BAD_MESSAGES: dict[str, Any] = {
    "none": [],
    "without role": [{"content": "a"}],
    "only text": ["a"],
    "content that is a number": [{"role": "user", "content": 1}],
    "part without type": [{"role": "user", "content": [{"text": "a"}]}],
    "image": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
}


@both_surfaces
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wish", BAD_ANYWHERE.values(), ids=BAD_ANYWHERE)
def test_2_5_7_a_bad_token_id_is_refused(
    api: Api, surface: Surface, wish: dict[str, Any], stream: bool
) -> None:
    assert api.refusal(surface, **wish, stream=stream)["param"] in wish


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", BAD_PROMPTS.values(), ids=BAD_PROMPTS)
def test_2_5_7_a_prompt_without_tokens_is_refused(api: Api, prompt: Any, stream: bool) -> None:
    assert api.refusal(prompt=prompt, stream=stream)["param"] == "prompt"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("messages", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_2_5_7_bad_messages_are_refused(api: Api, messages: Any, stream: bool) -> None:
    assert api.refusal(CHAT, messages=messages, stream=stream)["param"] == "messages"


@both_surfaces
@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"null", b"{", b"\xff"])
def test_2_5_7_a_body_that_is_no_object_is_refused(api: Api, surface: Surface, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    error_in(api.http.post(surface.path, content=body, headers=headers), 400)


@both_surfaces
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_2_5_7_another_content_type_is_refused(
    api: Api, surface: Surface, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = api.http.post(surface.path, content=b'{"prompt": "a"}', headers=headers)
    assert error_in(answer, 400)["code"] == "unsupported_content_type"


@both_surfaces
def test_2_5_7_unknown_fields_change_nothing(api: Api, surface: Surface) -> None:
    unknown = {"no_such_field": {"a": [1]}, "metadata": {"a": "b"}, "store": True}
    assert api.text(surface, **GREEDY, **unknown) == api.text(surface, **GREEDY)
