"""Parameters of requests for text, each with values that can stand beside those of all others.

A value is what it adds to the body. Where two add the same field, the later parameter decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

from tests.model_factory import SPECIAL_TOKENS


@dataclass(frozen=True, slots=True)
class Said:
    """What the model says to a request when nothing stops it."""

    text: str
    token_ids: Sequence[int]


Fields = dict[str, Any]
Value = Fields | Callable[[Said], Fields]
"""Some can be known only when the model has spoken."""
Table = dict[str, Sequence[Value]]

NEVER = "never said"
NUM_TOKENS = 20
EOS = SPECIAL_TOKENS.index("</s>")


def _tokens_of(*data: int) -> list[int]:
    """The tokens of some bytes from 0xAE on, which the vocabulary spells as themselves."""
    alphabet = sorted(ByteLevel.alphabet())
    return [len(SPECIAL_TOKENS) + alphabet.index(chr(byte)) for byte in data]


HALF_CHARACTER = _tokens_of(0xF3, 0xB1)
ONLY_BYTES = {
    str(token): 100.0 for token in _tokens_of(0xC3, 0xEA, 0xF3, 0xB1, 0xB5, 0xBA, 0xBC, 0xBF)
}
"""What the model says then is characters of two to four bytes, and halves of such."""
EARLY_END = {str(EOS): 12.0}


def _string(said: Said) -> Fields:
    middle = len(said.text) // 2
    return {"stop": said.text[middle : middle + 3] or NEVER}


def _strings(said: Said) -> Fields:
    """One begins and does not go on; two end at the same place."""
    middle = len(said.text) // 2
    found = said.text[middle : middle + 4] or NEVER
    return {"stop": [(said.text[1:4] + NEVER), found, found[1:] or NEVER]}


def _token(said: Said) -> Fields:
    return {"stop_token_ids": [said.token_ids[len(said.token_ids) // 2]]}


def _flag(name: str) -> list[Value]:
    return [{}, {name: True}]


SAMPLING: Table = {
    "model": [
        {"model": "tiny"},
        {"model": "tuned"},
        {"model": "tiny:tuned"},
        {"lora_path": "tuned"},
    ],
    "temperature": [{}, {"temperature": 0}, {"temperature": 0.7}, {"temperature": 2}],
    "top_k": [{}, {"top_k": -1}, {"top_k": 5}],
    "top_p": [{}, {"top_p": 0.6}],
    "min_p": [{}, {"min_p": 0.1}],
    "seed": [{"seed": 1}, {"seed": -(2**63)}, {"seed": 2**63 - 1}],
    "repetition_penalty": [{}, {"repetition_penalty": 1.3}, {"repetition_penalty": 0.8}],
    "presence_penalty": [{}, {"presence_penalty": 1.5}],
    "frequency_penalty": [{}, {"frequency_penalty": -1}, {"frequency_penalty": 2}],
    "logit_bias": [{}, {"logit_bias": ONLY_BYTES}, {"logit_bias": EARLY_END}],
    "n": [{}, {"n": 2}, {"n": 3}],
    "ignore_eos": _flag("ignore_eos"),
    "stop": [{}, {"stop": NEVER}, _string, _strings],
    "stop_token_ids": [{}, _token],
    "include_stop_str_in_output": _flag("include_stop_str_in_output"),
    "return_token_ids": _flag("return_token_ids"),
    "stream_options": [
        {},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {"continuous_usage_stats": True}},
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    ],
}

COMPLETIONS: Table = SAMPLING | {
    "prompt": [
        {"prompt": "bado é😀 kuli"},
        {"prompt": [*range(70, 90), *HALF_CHARACTER]},
        {"prompt": ["ba", "fo kuna"]},
        {"prompt": ["ba", [5, 6, 7], "kuli 😀 " * 3]},
    ],
    "logprobs": [{}, {"logprobs": 0}, {"logprobs": 3}],
    "truncate_prompt_tokens": [{}, {"truncate_prompt_tokens": 2}],
    "echo": _flag("echo"),
    "length": [
        {},
        {"max_tokens": NUM_TOKENS},
        {"max_tokens": NUM_TOKENS, "min_tokens": 7},
        {"max_tokens": 1},
        {"max_tokens": 0, "echo": True},
    ],
}

CHAT: Table = SAMPLING | {
    "messages": [
        {"messages": [{"role": "user", "content": "bado é😀 kuli"}]},
        {
            "messages": [
                {"role": "system", "content": "fo"},
                {"role": "user", "content": [{"type": "text", "text": "ba"}]},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "kuli"},
                {"role": "assistant", "content": "na 😀"},
            ],
            "add_generation_prompt": False,
            "continue_final_message": True,
        },
    ],
    "logprobs": [
        {},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 0},
        {"logprobs": True, "top_logprobs": 3},
    ],
    "length": [
        {},
        {"max_tokens": NUM_TOKENS},
        {"max_completion_tokens": NUM_TOKENS, "min_tokens": 7},
        {"max_completion_tokens": 1},
    ],
}

ROUTES: Mapping[str, Table] = {"/v1/completions": COMPLETIONS, "/v1/chat/completions": CHAT}

UNSTOPPED: Fields = {
    "n": 1,
    "max_tokens": NUM_TOKENS,
    "max_completion_tokens": None,
    "ignore_eos": True,
    "echo": False,
    "return_token_ids": True,
}
"""Makes the model speak freely, whatever else a body has."""


def body_of(row: Mapping[str, Value], said: Said | None = None) -> dict[str, Any]:
    """The body with all values of `row`, or without those for which the model must have spoken."""
    body: dict[str, Any] = {}
    for value in row.values():
        if not callable(value):
            body |= value
        elif said is not None:
            body |= value(said)
    return body
