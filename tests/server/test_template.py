"""The chat template gives transformers' text, to the letter, or an error that says why not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from motet import demo
from motet.errors import ModelError, RequestError
from motet.server import jinja
from motet.server.format_reader import FormatReader
from motet.server.template import MAX_KWARG_CHARS, RESERVED, ChatTemplate
from motet.server.text import Tokenizer
from tests.model_factory import CHAT_TEMPLATE, VOCAB_SIZE, make_tokenizer
from tests.tokenizer_factory import train_sentencepiece

LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
        {{- message.content | tojson }}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- set ns = namespace(last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" %}
        {%- set ns.last_query_index = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if message.role == "assistant" %}
        {%- if '</think>' in content and loop.index0 < ns.last_query_index %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

MISTRAL = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}\
{% else %}{% set rest = messages %}{% endif %}{% for message in rest %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}\
{% endif %}{% if message['role'] == 'user' %}\
{% if loop.last and messages[0]['role'] == 'system' %}\
{{ '[INST] ' + messages[0]['content'] + '\\n\\n' + message['content'] + ' [/INST]' }}\
{% else %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endif %}\
{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token}}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}\
{% endif %}{% endfor %}
"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
"""

PARTS_ONLY = """\
{% for message in messages %}{{ message['role'] | capitalize }}:\
{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ ' ' + line['text'] }}\
{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}
"""

TEXT_OR_PARTS = """\
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {{- '<sys>' + message['content'] | trim + '</sys>' }}
        {%- continue %}
    {%- endif %}
    {{- '<' + message.role + '>' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for content in message.content %}
            {%- if 'text' in content %}{{- content.text }}{%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '</' + message.role + '>' }}
{%- endfor %}
"""

GENERATION = """\
{%- macro turn(message) -%}
{{ message.role }}: {{ message.content }}
{%- endmacro %}
{% for message in messages %}
{% if message.role == 'assistant' %}
{% generation %}{{ turn(message) }}{% endgeneration %}

{% else %}
{{ turn(message) }}

{% endif %}
{% endfor %}
"""

GOODIES = """\
{{ strftime_now("%Y") }} {{ messages | tojson(indent=1) }} {{ dict(a=1) | tojson }}
{{ 'é<' | tojson }}
{% for message in messages recursive %}{% if loop.index > 2 %}{% break %}{% endif %}\
{{ loop.cycle('a', 'b') }}{{ message.content }}{% else %}nothing{% endfor %}\
{{ missing }}{{ pad_token }}{{ unk_token }}
"""

TEMPLATES = {
    "llama3": LLAMA3,
    "qwen3": QWEN3,
    "mistral": MISTRAL,
    "zephyr": ZEPHYR,
    "parts only": PARTS_ONLY,
    "text or parts": TEXT_OR_PARTS,
    "generation": GENERATION,
    "goodies": GOODIES,
    "demo": (demo.MODEL / "chat_template.jinja").read_text(),
    "factory": CHAT_TEMPLATE,
}

Messages = list[dict[str, Any]]

SYSTEM = {"role": "system", "content": "  Be brief.\n"}
USER = {"role": "user", "content": "Say {{ 6 * 7 }} 'é' \"<b>\" </s>"}
ANSWER = {"role": "assistant", "content": "<think>\nhm\n</think>\n\n42"}
AGAIN = {"role": "user", "content": " again\n"}

CONVERSATIONS: dict[str, Messages] = {
    "one message": [USER],
    "system": [SYSTEM, USER],
    "several turns": [USER, ANSWER, AGAIN],
    "all": [SYSTEM, USER, ANSWER, AGAIN],
    "null fields": [{**USER, "name": None, "tool_calls": None}],
}


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


def test_the_template_itself_says_why_it_refuses(tmp_path: Path) -> None:
    template, _ = load(tmp_path, MISTRAL)
    with pytest.raises(RequestError, match="says: Conversation roles must alternate") as caught:
        render(template, [USER, USER])
    assert (caught.value.code, caught.value.param) == ("refused_by_template", "messages")


def test_what_the_template_says_is_cut(tmp_path: Path) -> None:
    template, _ = load(tmp_path, "{{ raise_exception(messages[0].content) }}")
    with pytest.raises(RequestError) as caught:
        render(template, [{"role": "user", "content": "long " * 1000}])
    assert len(str(caught.value)) < 400


FAILURES = {
    "undefined": ("{{ messages[0].a.b }}", "UndefinedError"),
    "type": ("{{ messages[0].content + 1 }}", "TypeError"),
    "division": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    "range": ("{{ range(10 ** 9) }}", "OverflowError"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_of_the_template_is_the_requests(tmp_path: Path, case: str) -> None:
    source, kind = FAILURES[case]
    template, _ = load(tmp_path, source)
    with pytest.raises(RequestError, match=rf"cannot render these messages \({kind}\)$"):
        render(template, [USER])


ESCAPES = (
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__.__base__ }}",
    "{{ messages[0]['__class__'].__base__ }}",
    "{{ (messages | attr('__class__')).__base__ }}",
    "{{ raise_exception.__globals__.os }}",
    "{{ strftime_now.__globals__['os'] }}",
    "{{ _motet_check_time.__globals__.time }}",
    "{{ _motet_check_time.__closure__[0] }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ dict.__call__.__globals__ }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ '%s'.__mod__(1).__class__ }}",
    "{{ messages.append(1) }}",
    "{{ messages.clear() }}",
    "{{ messages[0].update(role='system') }}",
    "{{ messages[0].content.__class__() }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
)


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_reaches_nothing_but_the_conversation(tmp_path: Path, source: str) -> None:
    template, _ = load(tmp_path, source)
    messages = [{"role": "user", "content": "hello"}]
    with pytest.raises(RequestError, match="SecurityError"):
        render(template, messages)
    assert messages == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("text", ["{{ 6 * 7 }}", "{% for x in y %}", "{{ ''.__class__ }}", "{#"])
def test_content_is_no_template(tmp_path: Path, name: str, text: str) -> None:
    template, _ = load(tmp_path, TEMPLATES[name])
    assert text in render(template, [{"role": "user", "content": text}])


def test_switches_of_the_template_can_be_set(tmp_path: Path) -> None:
    template, tokenizer = load(tmp_path, QWEN3)
    for value in (True, False):
        expected = tokenizer.apply_chat_template(
            [USER], tokenize=False, add_generation_prompt=True, enable_thinking=value
        )
        kwargs = {"enable_thinking": value}
        assert render(template, [USER], kwargs, add_generation_prompt=True) == expected
    assert "</think>" in expected


def test_a_variable_with_a_default_of_the_template_can_be_set(tmp_path: Path) -> None:
    template, _ = load(tmp_path, LLAMA3)
    assert "date_string" in template.allowed_kwargs
    assert "Today Date: 1 May" in render(template, [USER], {"date_string": "1 May"})
    assert "Today Date: 26 Jul" in render(template, [USER], {"date_string": None})


@pytest.mark.parametrize("name", sorted(RESERVED | {"raise_exception", "range", "x", "_", "é"}))
def test_nothing_else_of_the_template_can_be_set(tmp_path: Path, name: str) -> None:
    used = "{{ bos_token }}{{ tools }}{{ messages }}{{ chat_template }}{{ range(1) }}"
    template, _ = load(tmp_path, used + "{% set x = mood %}{{ x }}{{ pace }}")
    with pytest.raises(RequestError, match=f"has '{name}'.*: it takes mood, pace$") as caught:
        render(template, [USER], {name: "x"})
    assert caught.value.param == "chat_template_kwargs"


@pytest.mark.parametrize(
    "value", [[], {}, [1], "x" * (MAX_KWARG_CHARS + 1), 10**7, -(10**7), 1e300, float("nan")]
)
def test_a_switch_is_one_small_value(tmp_path: Path, value: object) -> None:
    template, _ = load(tmp_path, "{{ mood }}")
    with pytest.raises(RequestError, match="has 'mood' as something else than") as caught:
        render(template, [USER], {"mood": value})
    assert caught.value.param == "chat_template_kwargs"


ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "loops in a block": "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}"
    "{{ b }}{% endfor %}{% endfor %}{% endset %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(100) }}",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_template_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(jinja, "MAX_RENDER_S", 0.01)
    template, _ = load(tmp_path, ENDLESS[case])
    with pytest.raises(RequestError, match="took more than") as caught:
        render(template, [USER])
    assert caught.value.code == "template_too_slow"


@pytest.mark.parametrize(
    ("source", "num_bos"), [(LLAMA3, 1), (CHAT_TEMPLATE, 1), (MISTRAL, 1), (QWEN3, 0), (ZEPHYR, 0)]
)
def test_the_template_alone_writes_special_tokens(
    tmp_path: Path, source: str, num_bos: int
) -> None:
    template, tokenizer = load(tmp_path, source)
    ids = Tokenizer.load(str(tmp_path)).encode(render(template, [USER]), add_special_tokens=False)
    assert ids.count(tokenizer.bos_token_id) == num_bos
    assert ids == tokenizer.apply_chat_template([USER], tokenize=True, return_dict=False)


@pytest.mark.parametrize("has_files", [False, True])
def test_a_model_may_have_no_template(tmp_path: Path, has_files: bool) -> None:
    if has_files:
        make_tokenizer(tmp_path)
    assert template_of(tmp_path) is None


@pytest.mark.parametrize(
    "entry",
    [
        CHAT_TEMPLATE,
        [
            {"name": "tool_use", "template": "tools"},
            {"name": "default", "template": CHAT_TEMPLATE},
        ],
    ],
)
def test_templates_in_the_tokenizers_config_are_found(tmp_path: Path, entry: object) -> None:
    write_config_entry(make_tokenizer(tmp_path), entry)
    template = template_of(tmp_path)
    assert template is not None
    assert render(template, [USER]).startswith("<s>[user] Say")


def test_a_template_has_the_roles_that_the_vocabulary_itself_names(tmp_path: Path) -> None:
    train_sentencepiece(tmp_path)  # its own file says which of its pieces are <s> and </s>
    (tmp_path / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    template = template_of(tmp_path)
    assert template is not None
    assert render(template, [USER]).startswith("<s>[user] Say")


BROKEN = {
    "no end": ("{% if %}", "cannot be compiled .*remove it to serve without chat"),
    "unknown filter": ("{{ 1 | nothing }}", "cannot be compiled .*nothing"),
    "too deep": ("{{" + "(" * 20_000, "cannot be compiled"),
    "no default": ([{"name": "rag", "template": "x"}], "have no 'default'"),
    "no text": (7, "has 7 as chat_template: give a text"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_template_that_cannot_be_used_stops_the_start(tmp_path: Path, case: str) -> None:
    entry, message = BROKEN[case]
    write_config_entry(make_tokenizer(tmp_path), entry)
    with pytest.raises(ModelError, match=message):
        template_of(tmp_path)


def write_config_entry(directory: Path, entry: object) -> None:
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": entry}))


def template_of(directory: Path) -> ChatTemplate | None:
    """As a server finds it."""
    tokenizer = Tokenizer.load(str(directory))
    return FormatReader(str(directory), tokenizer, (), VOCAB_SIZE).base.template


def load(directory: Path, source: str) -> tuple[ChatTemplate, Any]:
    """The template as we and as transformers load it."""
    make_tokenizer(directory, source)
    template = template_of(directory)
    assert template is not None
    return template, AutoTokenizer.from_pretrained(directory)


def render(
    template: ChatTemplate,
    messages: Messages,
    kwargs: Mapping[str, object] | None = None,
    *,
    add_generation_prompt: bool = False,
    continue_final_message: bool = False,
) -> str:
    return template.render(
        messages,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        kwargs=kwargs or {},
    )


def in_parts(messages: Messages) -> Messages:
    """Each content as one part: what a template needs that takes nothing else."""
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
