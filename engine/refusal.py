"""Which requests can never be served, and by how much."""

from motet.engine.request import Request
from motet.memory.adapter_cache import AdapterState
from motet.memory.manager import MemoryManager


def refusal(
    request: Request, adapter: AdapterState | None, max_model_len: int, memory: MemoryManager
) -> str | None:
    """What is wrong with the request, for its sender; None when it will be served in time.

    `adapter` is what its adapter's name means; of one that nobody has read no more is known.
    """
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
    adapters, num_kv_pages = memory.adapters, memory.kv.pages_for(num_tokens)
    num_adapter_pages = adapter.size if adapter else 0
    num_pinned = adapters.num_pinned_pages - (num_adapter_pages if _is_pinned(adapter) else 0)
    num_pages = num_kv_pages + (num_adapter_pages if len(memory.rooms) == 1 else 0)
    num_there = memory.room.pool.num_pages - (num_pinned if len(memory.rooms) == 1 else 0)
    if num_pages > num_there:
        return (
            f"{num_tokens} tokens and the adapter need {num_pages} pages, the pool has "
            f"{num_there}: lower max_tokens or start with more --pool-bytes"
        )
    if num_adapter_pages > memory.host.pool.num_pages:
        return (
            f"the adapter takes {num_adapter_pages} pages, the host has "
            f"{memory.host.pool.num_pages}: start with more --host-bytes"
        )
    if num_adapter_pages > adapters.room.pool.num_pages - num_pinned:
        return (
            f"the adapter takes {num_adapter_pages} pages, the pool has room for "
            f"{adapters.room.pool.num_pages - num_pinned} of adapters: start with more --pool-bytes"
        )
    return None


def _is_pinned(adapter: AdapterState | None) -> bool:
    return adapter is not None and adapter.num_pins > 0
