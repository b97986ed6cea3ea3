"""What the operator sees when the server is ready: what it serves, and how to try it."""

import json
import shlex
from collections.abc import Iterator, Sequence

from motet.engine import EngineInfo
from motet.server.text.formats import PromptFormats
from motet.server.text.served import Served

MIB = 1024**2
MAX_NAMED = 8
"""Adapters whose names are shown."""
MAX_TRIED = 2
"""Adapters that there is a line to try for."""
KEY_VARIABLE = "MOTET_API_KEY"
QUESTION = "Where can I sleep?"


def banner(served: Served, url: str, *, needs_key: bool) -> str:
    """What is served, how the pool is cut, and lines to try it with, which work as they are.

    With `needs_key` they take the key from the shell's environment, since secrets are never shown.
    """
    info = served.info
    lines = {
        "model": f"{served.name} ({info.architecture}, {info.dtype} on {info.device})",
        "context": f"{info.max_model_len:,} tokens",
        "pool": _pool(info),
        "host": _host(info),
        "adapters": _adapters(info),
        **_own_formats(served.formats),
        "defaults": str(served.defaults) or "OpenAI's",
        "url": url,
        "try": f"\n{'':<12}".join(_curls(served, url, needs_key)),
    }
    return "\n".join(["motet is ready", *(f"  {key:<9} {text}" for key, text in lines.items())])


def _pool(info: EngineInfo) -> str:
    total_mib = info.num_pages * info.page_bytes / MIB
    num_tokens = info.num_pages * info.page_tokens
    num_adapters = info.num_pages // info.rank16_adapter_pages
    return (
        f"{info.num_pages:,} pages of {info.page_bytes:,} bytes ({total_mib:,.1f} MiB): room for "
        f"{num_tokens:,} tokens, or {num_adapters:,} adapters of rank 16, or any mix"
    )


def _host(info: EngineInfo) -> str:
    size_mib = info.num_host_pages * info.page_bytes / MIB
    link = f"; simulated link of {info.link_gbps:g} Gbit/s each way" if info.link_gbps else ""
    return f"{info.num_host_pages:,} pages more ({size_mib:,.1f} MiB) for what has left it{link}"


def _adapters(info: EngineInfo) -> str:
    listed = _listed([adapter.name for adapter in info.adapters])
    return f"{len(info.adapters):,} loaded, of rank up to {info.max_lora_rank}{listed}"


def _own_formats(formats: PromptFormats) -> dict[str, str]:
    """A line where adapters have templates or ends that the base model does not have."""
    own = formats.own
    templates = [name for name in own if own[name].template is not formats.base.template]
    ends = [name for name in own if own[name].eos_token_ids != formats.base.eos_token_ids]
    counts = [
        f"{len(names):,} with {what} of their own{_listed(names)}"
        for what, names in (("a chat template", templates), ("ends", ends))
        if names
    ]
    return {"formats": "; ".join(counts)} if counts else {}


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:MAX_NAMED], *(["..."] if len(names) > MAX_NAMED else [])]
    return f": {', '.join(shown)}" if names else ""


def _curls(served: Served, url: str, needs_key: bool) -> Iterator[str]:
    """The same question to the base model and to the first adapters."""
    path, question = _question(served)
    header = shlex.quote("Content-Type: application/json")
    key = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if needs_key else ""
    for model in (served.name, *(adapter.name for adapter in served.info.adapters[:MAX_TRIED])):
        body = json.dumps({"model": model, **question, "max_tokens": 64, "temperature": 0})
        yield f"curl {shlex.quote(url + path)} -H {header}{key} -d {shlex.quote(body)}"


def _question(served: Served) -> tuple[str, dict[str, object]]:
    """Where to ask what this model can answer, and how: a chat if it has a template."""
    if served.formats.base.template is not None:
        return "/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]}
    prompt = QUESTION if served.tokenizer.has_text else [1, 2, 3]
    return "/v1/completions", {"prompt": prompt}
