"""In which form a chat template reads the content of a message: as text, or as a list of parts.

Templates do not say, so each is tried once with both. Its source tells less: it may take parts from
users and not from the system, or trim a list as if it were text.
"""

from collections.abc import Callable
from dataclasses import dataclass

Message = dict[str, object]
Render = Callable[[list[Message]], str]

_TEXTS = ("first-part", "second-part")
_UNREAD = "unread-key"  # appears only when the list is printed instead of read

_BEFORE_AND_AFTER = {"user": ((), ()), "system": ((), ("user",)), "assistant": (("user",), ())}
"""The roles that are tried -> the roles around them, since templates insist on an order."""


@dataclass(frozen=True, slots=True)
class ContentForm:
    """What a template takes as the content of a message of one role."""

    takes_text: bool
    takes_parts: bool

    def fit(self, message: Message) -> Message:
        """`message` without what is null, and with content that the template takes.

        The texts of parts become lines of one text, as in vLLM.
        """
        given = {key: value for key, value in message.items() if value is not None}
        match given.get("content"):
            case list(parts) if not self.takes_parts:
                return given | {"content": "\n".join(part["text"] for part in parts)}
            case str(text) if not self.takes_text:
                return given | {"content": [{"type": "text", "text": text}]}
        return given


def content_forms(render: Render) -> dict[str, ContentForm]:
    """Role -> form. Other roles are like the user's. Templates may fail in any way."""
    return {role: _form(render, role) for role in _BEFORE_AND_AFTER}


def _form(render: Render, role: str) -> ContentForm:
    parts = [{"type": "text", "text": text, _UNREAD: _UNREAD} for text in _TEXTS]
    shown = _try(render, role, parts)
    takes_parts = all(text in shown for text in _TEXTS) and _UNREAD not in shown
    takes_text = not takes_parts or _TEXTS[0] in _try(render, role, _TEXTS[0])
    return ContentForm(takes_text, takes_parts)


def _try(render: Render, role: str, content: object) -> str:
    before, after = _BEFORE_AND_AFTER[role]
    roles = (*before, role, *after)
    try:
        return render([{"role": r, "content": content if r == role else "-"} for r in roles])
    except Exception:  # a template that cannot read this form raises anything
        return ""
