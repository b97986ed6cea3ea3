"""Chat templates like those of published models, and conversations to render."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from motet import demo
from motet.server.text.format_reader import FormatReader
from motet.server.text.template import ChatTemplate
from motet.server.text.tokenizer import Tokenizer
from tests.model_factory import CHAT_TEMPLATE, VOCAB_SIZE, make_tokenizer

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
