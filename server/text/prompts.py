"""Prompts as clients send them, as token ids."""

from collections.abc import Sequence
from typing import cast

import msgspec

from motet.client.protocol import ChatMessage, ChatRequest
from motet.client.protocol import Prompt as WirePrompt
from motet.engine import Adapter
from motet.errors import RequestError
from motet.server.text.jobs import Prompt
from motet.server.text.served import Served
from motet.server.text.tokenizer import Tokenizer

LONG_CHARS = 4096  # take milliseconds


def encode_prompts(
    prompt: WirePrompt,
    served: Served,
    num_kept: int | None = None,
    *,
    add_special_tokens: bool = True,
) -> list[Prompt]:
    """Each prompt in `prompt`, its last `num_kept` tokens. Raises RequestError.

    Long ones take a while.
    """
    given = _each(prompt)
    names = [f"prompt[{index}]" for index in range(len(given))] if len(given) > 1 else ["prompt"]
    if num_kept is None:
        for name, item in zip(names, given, strict=True):
            if isinstance(item, str):
                _check_length(item, name, served)
    encoded = [_ids(item, served.tokenizer, add_special_tokens) for item in given]
    kept = slice(-(num_kept or 0), None)  # -0 keeps all
    return [Prompt(tuple(ids[kept]), name) for ids, name in zip(encoded, names, strict=True)]


def is_long(prompt: WirePrompt) -> bool:
    """Whether to encode it would hold up every stream."""
    texts = [prompt] if isinstance(prompt, str) else prompt
    return sum(len(text) for text in texts if isinstance(text, str)) >= LONG_CHARS


def render_conversation(wish: ChatRequest, served: Served, adapter: Adapter | None) -> Prompt:
    """The messages as the template of the adapter or of the base model writes them.

    Raises RequestError. Takes a while.
    """
    text = conversation_text(wish, served, adapter)
    _check_length(text, "messages", served)
    ids = served.tokenizer.encode(text, add_special_tokens=False)
    return Prompt(tuple(ids), "messages")


def conversation_text(wish: ChatRequest, served: Served, adapter: Adapter | None) -> str:
    """What the template makes of the messages: text that has the special tokens already.

    Raises RequestError.
    """
    if not served.tokenizer.has_text:
        raise RequestError(
            f"the model '{served.name}' has no tokenizer, without which there is no chat: send "
            "token ids to /v1/completions, or add tokenizer.json to the model directory",
            code="no_tokenizer",
            param="messages",
        )
    template = served.formats.of(adapter).template
    if template is None:
        raise RequestError(
            f"the model '{served.name}' has no chat template: send a prompt to /v1/completions, "
            "or add chat_template.jinja to the model directory, or name one with --chat-template",
            code="no_chat_template",
            param="messages",
        )
    _check_tools(wish.messages)
    messages: list[dict[str, object]] = msgspec.to_builtins(wish.messages)
    return template.render(
        messages,
        add_generation_prompt=wish.add_generation_prompt,
        continue_final_message=wish.continue_final_message,
        kwargs=wish.chat_template_kwargs,
    )


def num_prompts(prompt: WirePrompt) -> int:
    """How many there are, if they are prompts at all; known without a look at each."""
    is_list = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return len(prompt) if is_list else 1


def _each(prompt: WirePrompt) -> list[str | list[int]]:
    """The prompts in `prompt`, which alone can be told from their types."""
    if isinstance(prompt, str):
        return [prompt]
    kinds = set(map(type, prompt))
    if kinds == {int}:
        return [cast(list[int], prompt)]
    if int in kinds:
        raise RequestError(
            "'prompt' is a list of token ids and of something else: put each list of token ids "
            "into brackets of its own",
            param="prompt",
        )
    if not prompt:
        raise RequestError("'prompt' is empty: it needs at least one token", param="prompt")
    return cast(list[str | list[int]], prompt)


def _ids(prompt: str | list[int], tokenizer: Tokenizer, adds_special: bool) -> list[int]:
    """Without a token for no text: not even those with which a prompt begins."""
    if isinstance(prompt, str):
        return tokenizer.encode(prompt, add_special_tokens=adds_special) if prompt else []
    return prompt


def _check_tools(messages: Sequence[ChatMessage]) -> None:
    """Refuse, by name, what this version does not do."""
    for index, message in enumerate(messages):
        for name in ("tool_calls", "tool_call_id"):
            if getattr(message, name):
                raise RequestError(
                    f"'messages[{index}].{name}' is not supported in this version: leave it out",
                    code="unsupported_parameter",
                    param="messages",
                )


def _check_length(text: str, name: str, served: Served) -> None:
    max_tokens = served.info.max_model_len
    if served.tokenizer.is_too_long(text, max_tokens):
        raise RequestError(
            f"'{name}' has {len(text)} characters, which is more than {max_tokens} tokens, "
            "the whole context, can hold",
            code="context_length_exceeded",
            param=name.partition("[")[0],
        )
