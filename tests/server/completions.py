"""Asks a scripted server for completions."""

import json
from typing import Any

from tests.server.scripted import ScriptedCore, connect, serving

HELLO = {"model": "base", "prompt": "hello"}


async def complete(core: ScriptedCore, **fields: Any) -> Any:
    """The answer's body."""
    async with serving(core) as app, connect(app) as client:
        answer = await client.post("/v1/completions", json=HELLO | fields)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def refusal(core: ScriptedCore, status: int = 400, **fields: Any) -> Any:
    """The error of a request that never reaches the client as an answer."""
    async with serving(core) as app, connect(app) as client:
        answer = await client.post("/v1/completions", json=HELLO | fields)
        assert answer.status_code == status, answer.text
        assert answer.headers["x-request-id"]
        return answer.json()["error"]


async def stream(core: ScriptedCore, **fields: Any) -> list[Any]:
    """The data of every event."""
    async with serving(core) as app, connect(app) as client:
        answer = await client.post("/v1/completions", json=HELLO | {"stream": True} | fields)
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = answer.text.split("\n\n")
        assert events.pop() == ""
        return [json.loads(e.removeprefix("data: ")) if "[DONE]" not in e else e for e in events]


def core_again(core: ScriptedCore) -> ScriptedCore:
    return ScriptedCore(core.script, core.info)
