"""What a chat template may do, and what clients may set of it."""

from pathlib import Path

import pytest

from motet.errors import RequestError
from motet.server.text import jinja
from motet.server.text.template import MAX_KWARG_CHARS, RESERVED
from tests.server.templates import LLAMA3, MISTRAL, QWEN3, TEMPLATES, USER, load, render


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
