"""The chat template gives transformers' text, to the letter, or an error that says why not."""

from pathlib import Path
from typing import Any

import pytest

from motet.errors import RequestError
from tests.model_factory import CHAT_TEMPLATE
from tests.server.templates import (
    ANSWER,
    CONVERSATIONS,
    LLAMA3,
    PARTS_ONLY,
    TEMPLATES,
    TEXT_OR_PARTS,
    USER,
    Messages,
    in_parts,
    load,
    render,
)


@pytest.mark.parametrize("begins_turn", [False, True])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_text_is_that_of_transformers(
    tmp_path: Path, name: str, conversation: str, begins_turn: bool
) -> None:
    messages = CONVERSATIONS[conversation]
    template, tokenizer = load(tmp_path, TEMPLATES[name])
    expected = tokenizer.apply_chat_template(
        in_parts(messages) if name == "parts only" else messages,
        tokenize=False,
        add_generation_prompt=begins_turn,
    )
    assert render(template, messages, add_generation_prompt=begins_turn) == expected


ENDS: dict[str, Messages] = {
    "plain": [USER, {"role": "assistant", "content": "So it"}],
    "white space": [USER, {"role": "assistant", "content": " So it is \n "}],
    "twice": [USER, {"role": "assistant", "content": "a"}, USER, {**ANSWER, "content": "a"}],
    "the mark itself": [USER, {**ANSWER, "content": "a CONTINUE_FINAL_MESSAGE_TAG b"}],
    "empty": [USER, {"role": "assistant", "content": ""}],
    "user": [USER],
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", sorted(TEMPLATES.keys() - {"goodies"}))  # shows messages twice
def test_continued_text_is_that_of_transformers(tmp_path: Path, name: str, end: str) -> None:
    template, tokenizer = load(tmp_path, TEMPLATES[name])
    expected = tokenizer.apply_chat_template(
        in_parts(ENDS[end]) if name == "parts only" else ENDS[end],
        tokenize=False,
        continue_final_message=True,
    )
    assert render(template, ENDS[end], continue_final_message=True) == expected


@pytest.mark.parametrize(
    ("source", "end"), [(CHAT_TEMPLATE, "[assistant] So it is \n "), (LLAMA3, "\n\nSo it is")]
)
def test_continued_text_ends_as_the_template_shows_it(
    tmp_path: Path, source: str, end: str
) -> None:
    template, _ = load(tmp_path, source)
    message = {"role": "assistant", "content": "So it is \n "}
    assert render(template, [USER, message], continue_final_message=True).endswith(end)


@pytest.mark.parametrize(
    "message",
    [{"role": "assistant"}, {"role": "assistant", "content": None}, {"role": "system", **USER}],
)
def test_a_message_that_is_not_shown_cannot_be_continued(
    tmp_path: Path, message: dict[str, Any]
) -> None:
    template, _ = load(tmp_path, "{{ messages[0].role }}{{ messages[1].role }} content")
    with pytest.raises(RequestError, match="last message") as caught:
        render(template, [USER, message], continue_final_message=True)
    assert caught.value.param == "messages"


def test_a_text_that_the_template_changes_cannot_be_continued(tmp_path: Path) -> None:
    template, _ = load(tmp_path, "{{ messages[-1].content | replace('a', 'b') }}")
    with pytest.raises(RequestError, match="does not show the last message as it is"):
        render(template, [{"role": "assistant", "content": "a"}], continue_final_message=True)


def test_a_message_is_continued_or_followed_and_not_both(tmp_path: Path) -> None:
    template, _ = load(tmp_path, CHAT_TEMPLATE)
    with pytest.raises(RequestError, match="both true"):
        render(template, [USER], add_generation_prompt=True, continue_final_message=True)


TWO_PARTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

CONTENTS = {  # what content the template sees for text, and for parts
    "text only": ("{{ messages[0].content | tojson }}", "t", "one\ntwo"),
    "text that is trimmed": ("{{ messages[0].content | trim }}", "t", "one\ntwo"),
    "text that is joined": ("{{ '-' + messages[0].content }}", "-t", "-one\ntwo"),
    "first part only": (
        "{% set content = messages[0].content %}"
        "{{ content if content is string else content[0].text }}",
        "t",
        "one\ntwo",
    ),
    "both": (TEXT_OR_PARTS, "<user>t</user>", "<user>onetwo</user>"),
    "parts only": (PARTS_ONLY, "User: t<end>\n", "User: one two<end>\n"),
    "parts only, or it fails": (
        "{% if messages[0].content is string %}{{ raise_exception('no') }}{% endif %}"
        "{{ messages[0].content | map(attribute='text') | join('+') }}",
        "t",
        "one+two",
    ),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_content_has_the_form_that_the_template_reads(tmp_path: Path, case: str) -> None:
    source, text, parts = CONTENTS[case]
    template, _ = load(tmp_path, source)
    assert render(template, [{"role": "user", "content": "t"}]).strip('"') == text.strip('"')
    shown = render(template, [{"role": "user", "content": TWO_PARTS}])
    assert shown.strip('"').replace("\\n", "\n") == parts


def test_parts_are_joined_for_the_roles_whose_text_the_template_reads(tmp_path: Path) -> None:
    template, _ = load(tmp_path, TEXT_OR_PARTS)
    messages = [{"role": role, "content": TWO_PARTS} for role in ("system", "user", "assistant")]
    assert render(template, messages) == (
        "<sys>one\ntwo</sys><user>onetwo</user><assistant>onetwo</assistant>"
    )


def test_the_last_part_is_continued(tmp_path: Path) -> None:
    template, tokenizer = load(tmp_path, TEXT_OR_PARTS)
    messages: Messages = [USER, {"role": "assistant", "content": TWO_PARTS}]
    expected = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert render(template, messages, continue_final_message=True) == expected
    assert expected.endswith("<assistant>onetwo")


@pytest.mark.parametrize("source", [CHAT_TEMPLATE, PARTS_ONLY])
def test_any_role_that_the_template_takes_is_taken(tmp_path: Path, source: str) -> None:
    template, _ = load(tmp_path, source)
    assert "hello" in render(template, [{"role": "critic", "content": "hello"}])
