"""Which requests can never be served, and by how much."""

from motet.engine.request import Request
from motet.memory.manager import MemoryManager


def refusal(request: Request, max_model_len: int, memory: MemoryManager) -> str | None:
    """What is wrong with the request, for its sender; None when it will be served in time."""
    adapter = memory.adapters.get(request.adapter.digest) if request.adapter else None
    if request.adapter is not None and adapter is None:
        return f"adapter '{request.adapter.name}' is not loaded: register it first"
    num_prompt, max_tokens = len(request.prompt), request.sampling.max_tokens
    if num_prompt < 1 or max_tokens < 0:
        return (
            "a request needs at least one prompt token and max_tokens of at least 0, this one has "
            f"{num_prompt} and {max_tokens}"
        )
    num_tokens = num_prompt + max_tokens
    if num_tokens > max_model_len:
        return (
            f"prompt of {num_prompt} and max_tokens of {max_tokens} are {num_tokens} tokens, "
            f"{num_tokens - max_model_len} more than the context of {max_model_len}: shorten the "
            "prompt or lower max_tokens"
        )
    num_pages = memory.kv.pages_for(num_tokens) + (adapter.size if adapter else 0)
    if num_pages > memory.num_pages:
        return (
            f"{num_tokens} tokens and the adapter need {num_pages} pages, the pool has "
            f"{memory.num_pages}: lower max_tokens or start with more --pool-bytes"
        )
    return None
