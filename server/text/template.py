"""A chat template: a conversation to the text that the model goes on with.

The template is the operator's, the messages are of clients, who send no templates and set only the
variables that the template has for them. It runs in transformers' immutable sandbox, so neither can
reach beyond the conversation.
"""

from collections.abc import Mapping, Sequence

import jinja2

from motet.errors import RequestError
from motet.server.text.content import Message, content_forms
from motet.server.text.jinja import MAX_RENDER_S, BoundedTemplate, OutOfTime

RESERVED = frozenset(
    {
        "messages",
        "tools",
        "documents",
        "add_generation_prompt",
        "continue_final_message",
        "chat_template",
        "tokenize",
        "return_dict",
        "return_assistant_tokens_mask",
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
        "additional_special_tokens",
        "extra_special_tokens",
    }
)
"""Variables of templates that are not for clients."""

MAX_KWARG_CHARS = 1024
MAX_KWARG_NUMBER = 10**6
"""A template may repeat or count with it."""

_MAX_SHOWN = 300  # characters of what a template says
_END = "CONTINUE_FINAL_MESSAGE_TAG "  # transformers' own, so that templates see the same


class ChatTemplate:
    """Renders what transformers' `apply_chat_template` does, within a time limit, in any thread."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """`special_tokens` are names such as bos_token and their texts.

        Raises one of `chat_template.NOT_A_TEMPLATE` when `source` is no template.
        """
        self._template = BoundedTemplate(source)
        self._constants = {"tools": None, "documents": None, **special_tokens}
        self.special_tokens = {
            name: text for name, text in special_tokens.items() if name in self._template.variables
        }
        """Those that it reads."""
        self.allowed_kwargs = self._template.variables - RESERVED - special_tokens.keys()
        """What clients may set in `chat_template_kwargs`."""
        self._forms = content_forms(
            lambda messages: self._template.render(
                {**self._constants, "messages": messages, "add_generation_prompt": False}
            )
        )

    @property
    def reads_messages(self) -> bool:
        """Whether it is about conversations at all."""
        return "messages" in self._template.variables

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool,
        kwargs: Mapping[str, object],
    ) -> str:
        """The text to tokenize without special tokens: the template has written them.

        Takes up to MAX_RENDER_S, so not on the loop. Raises RequestError.
        """
        if add_generation_prompt and continue_final_message:
            raise RequestError(
                "'continue_final_message' and 'add_generation_prompt' are both true: the model "
                "either goes on with the last message or begins the next, so set one to false",
                param="continue_final_message",
            )
        given = {**self._constants, **self._checked(kwargs)}
        given["add_generation_prompt"] = add_generation_prompt
        fitted = [self._forms.get(str(m["role"]), self._forms["user"]).fit(m) for m in messages]
        if continue_final_message:
            marked, text = _mark_end(fitted[-1])
            return _cut(self._render({**given, "messages": [*fitted[:-1], marked]}), text)
        return self._render({**given, "messages": fitted})

    def _checked(self, kwargs: Mapping[str, object]) -> dict[str, object]:
        for name, value in kwargs.items():
            if name not in self.allowed_kwargs:
                names = ", ".join(sorted(self.allowed_kwargs)) or "none"
                raise _kwarg_error(
                    f"has {name!r:.80}, which the chat template does not take: it takes {names}"
                )
            if value is not None and not _is_plain(value):
                raise _kwarg_error(
                    f"has {name!r:.80} as something else than true, false, a number up to "
                    f"{MAX_KWARG_NUMBER} or a text of up to {MAX_KWARG_CHARS} characters"
                )
        return {name: value for name, value in kwargs.items() if value is not None}

    def _render(self, variables: Mapping[str, object]) -> str:
        try:
            return self._template.render(variables)
        except OutOfTime as error:
            raise RequestError(
                f"the chat template took more than {MAX_RENDER_S:g} s: send fewer messages",
                code="template_too_slow",
                param="messages",
            ) from error
        except Exception as error:  # a template can provoke any: the messages do not fit it
            raise _refusal(error) from error


def _mark_end(message: Message) -> tuple[Message, str]:
    """`message` with a mark behind its text, and the text. Raises RequestError without one."""
    match message.get("content"):
        case str(text):
            return message | {"content": text + _END}, text
        case [*before, {"text": str(text)}]:
            marked = {"type": "text", "text": text + _END}
            return message | {"content": [*before, marked]}, text
    raise RequestError(
        "'continue_final_message' is true, but the last message has no content to go on with",
        param="messages",
    )


def _cut(rendered: str, text: str) -> str:
    """`rendered` up to the mark behind `text`, as transformers cuts it."""
    end = rendered.rfind(_END.rstrip())
    if end < 0 or text.strip() not in rendered:
        raise RequestError(
            "'continue_final_message' is true, but the chat template does not show the last "
            "message as it is: send it otherwise, or set 'add_generation_prompt' instead",
            param="messages",
        )
    keeps_space = rendered.startswith(_END, end)
    return rendered[:end] if keeps_space else rendered[:end].rstrip()


def _is_plain(value: object) -> bool:
    match value:
        case str():
            return len(value) <= MAX_KWARG_CHARS
        case int() | float():  # and bool
            return abs(value) <= MAX_KWARG_NUMBER
    return False


def _kwarg_error(problem: str) -> RequestError:
    return RequestError(f"'chat_template_kwargs' {problem}", param="chat_template_kwargs")


def _refusal(error: Exception) -> RequestError:
    """What a client may know: the words of the template's raise_exception, or a kind of error."""
    if type(error) is jinja2.TemplateError:
        reason = f"says: {str(error)[:_MAX_SHOWN]}"
    else:
        reason = f"cannot render these messages ({type(error).__name__})"
    return RequestError(f"the chat template {reason}", code="refused_by_template", param="messages")
