"""The contract with clients of other servers, row by row, and what this version leaves out."""

from dataclasses import dataclass
from typing import Any

ROWS = {
    "2.1.1": "list of models: base first, root, parent, max_model_len",
    "2.1.2": "one model: 404 for an unknown id, ids with / and :",
    "2.1.3": "unknown model is 404 model_not_found, never the base",
    "2.1.4": "base:adapter, base:, lora_path; a disagreement is 400",
    "2.1.5": "without adapters: LoRA is not enabled",
    "2.2.1": "POST /v1/load_lora_adapter",
    "2.2.2": "POST /v1/unload_lora_adapter",
    "2.2.3": "POST /load_lora_adapter and /unload_lora_adapter",
    "2.2.4": "missing lora_name or lora_path",
    "2.2.5": "same name again",
    "2.2.6": "same name with load_inplace",
    "2.2.7": "path not found",
    "2.2.8": "invalid files",
    "2.2.9": "unsupported adapters",
    "2.2.10": "unload of an unknown name",
    "2.2.11": "second unload, load after unload",
    "2.2.12": "pinned adapter",
    "2.2.13": "more adapters in use than fit: all answers are right",
    "2.2.14": "failing loads beside good traffic",
    "2.2.15": "names with ../, absolute paths",
    "2.2.16": "load with a key that is not an admin's",
    "2.3.1": "greedy output does not depend on the neighbours",
    "2.3.2": "a prefix is never shared between adapters",
    "2.3.3": "every answer tells its adapter generation",
    "2.3.4": "after aborts in any phase the pages are back",
    "2.3.5": "registration scales",
    "2.3.6": "the engine dies: clear errors",
    "2.4.1": "stream: role first, one finish per index, [DONE]",
    "2.4.2": "finish chunk is empty",
    "2.4.3": "every chunk has id, object, created, model, choices",
    "2.4.4": "joined stream equals the whole answer",
    "2.4.5": "stream_options: include_usage, continuous_usage_stats",
    "2.4.6": "stop strings held back, characters whole",
    "2.4.7": "n > 1 interleaves, each with its own end",
    "2.4.8": "tools in a stream",
    "2.4.9": "/v1/responses",
    "2.5.1": "chat logprobs",
    "2.5.2": "logprobs of completions, prompt_logprobs",
    "2.5.3": "forms of prompt, truncate_prompt_tokens",
    "2.5.4": "seed",
    "2.5.5": "stop, stop_token_ids, stop_reason",
    "2.5.6": "ignore_eos, min_tokens, context_length_exceeded",
    "2.5.7": "bad values are 400, unknown fields ignored",
    "2.5.8": "content parts, roles, continue_final_message",
    "2.5.9": "response_format, structured_outputs, tool_choice",
    "2.5.10": "usage counts real tokens, once",
    "2.6.1": "/version, /health, /ready, /load, /metrics",
    "2.6.2": "API keys",
    "2.6.3": "a storm of cancelled requests",
    "2.7.1": "counts after ten requests",
    "2.7.2": "gauges are 0 after all work is cancelled",
    "2.8.1": "invalid adapter file: 400 on the compatible paths",
    "2.8.2": "duplicate load: 400 on the compatible paths",
    "2.8.3": "error in mid-stream: no [DONE]",
    "2.8.4": "misspelt adapter: the nearest names",
    "2.8.5": "an adapter's own chat template is used for requests on it alone",
    "2.8.6": "chat_template_kwargs: what the template has, no chat_template",
    "2.8.7": "lora_path is a name, never a path",
    "2.8.8": "prompt_logprobs are off",
    "2.8.9": "metrics need a key, probes do not",
    "2.8.10": "/ in served model ids only",
}
"""Row -> a few words. A test is named after its row: `test_2_1_1_...` proves row 2.1.1."""


@dataclass(frozen=True, slots=True)
class Absent:
    """What this version does not do, and what it answers instead."""

    why: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    param: str | None = None
    """The field that is refused with 400; None: the path is not there, which is 404."""


_LATER = "not in this version"


def _completion(**fields: Any) -> Absent:
    return Absent(_LATER, "POST", "/v1/completions", {"prompt": "a"} | fields, next(iter(fields)))


def _chat(**fields: Any) -> Absent:
    messages = [{"role": "user", "content": "a"}]
    body = {"messages": messages} | fields
    return Absent(_LATER, "POST", "/v1/chat/completions", body, next(iter(fields)))


_TOOLS = [{"type": "function", "function": {"name": "f"}}]

ABSENT: dict[str, tuple[Absent, ...]] = {
    "2.4.8": (_chat(tools=_TOOLS, stream=True),),
    "2.4.9": (Absent(_LATER, "POST", "/v1/responses", {"input": "a"}),),
    "2.5.2": (_completion(prompt_logprobs=1),),
    "2.5.9": (
        _chat(response_format={"type": "json_object"}),
        _completion(structured_outputs={"regex": "a+"}),
        _chat(tool_choice="required"),
        _chat(tools=_TOOLS),
    ),
    "2.6.1": (Absent(_LATER, "GET", "/load"),),
    "2.8.6": (_chat(chat_template="{{ messages }}"),),
    "2.8.8": (_completion(prompt_logprobs=-1), _chat(prompt_logprobs=0)),
}
"""Row -> what is left out of it. The rest of the row, if there is any, has tests."""
