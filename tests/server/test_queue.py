"""What happens when more is asked for than can wait."""

import asyncio
from pathlib import Path

import pytest

from motet.errors import ConfigError
from motet.server.http.config import ServerConfig
from tests.server.scripted import ScriptedCore, an_info, connect, hesitates, serving, until

pytestmark = pytest.mark.anyio

WISH = {"model": "base", "prompt": [5], "max_tokens": 50}


async def test_what_would_make_the_queue_too_long_is_refused_at_once(model_dir: Path) -> None:
    core = ScriptedCore(hesitates, an_info(model_dir))
    config = ServerConfig(served_model_name="base", max_waiting=2)
    async with serving(core, config) as app, connect(app) as client:
        waiting = [asyncio.create_task(client.post("/v1/completions", json=WISH)) for _ in "ab"]
        await until(lambda: app.state.service.engine.num_waiting == 2)
        refused = await client.post("/v1/completions", json=WISH | {"prompt": "never tokenized"})
        served = [(await task).status_code for task in waiting]
        again = await client.post("/v1/completions", json=WISH)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"]["code"] == "queue_full"
    assert "2 requests wait already" in refused.json()["error"]["message"]
    assert served == [200, 200]
    assert again.status_code == 200
    assert len(core.requests) == 3


@pytest.mark.parametrize("most", [0, -1, 2**21])
def test_a_queue_has_room_for_one_at_least(most: int) -> None:
    with pytest.raises(ConfigError, match="--max-waiting is"):
        ServerConfig(max_waiting=most)
