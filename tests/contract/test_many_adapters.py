"""A server with room for a handful of hundreds of adapters says what a roomy one says."""

import json
import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

import httpx
import pytest
from transformers import LlamaForCausalLM

from motet.file_names import ADAPTER_CONFIG
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.cli.process import Server
from tests.contract.contract_server import HANG_S, Json
from tests.memory_watch import watched_memory
from tests.model_factory import make_llama, make_tokenizer

NUM_ADAPTERS = 300
CONCURRENCY = 16
MAX_TOKENS = 8
KINDS = ("query-value", "all-linear")
"""Of adapters, in turn."""

TIGHT = ("--pool-bytes", "192KiB", "--host-bytes", "384KiB")
ROOMY = ("--pool-bytes", "64MiB", "--host-bytes", "64MiB")

NUM_REQUESTS = [150, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, and beside it adapters of two ranks whose scales all differ."""
    shelf = tmp_path_factory.mktemp("crowd")
    base = make_tokenizer(make_llama(shelf / "tiny"))
    model = LlamaForCausalLM.from_pretrained(base)
    for seed, kind in enumerate(KINDS):
        save_adapter(model, shelf / "trained" / kind, ADAPTER_KINDS[kind], seed)
    for number in range(NUM_ADAPTERS):
        trained = shelf / "trained" / KINDS[number % len(KINDS)]
        config = copytree(trained, shelf / "crowd" / f"a{number}") / ADAPTER_CONFIG
        fields = json.loads(config.read_text())
        config.write_text(json.dumps(fields | {"lora_alpha": 8 + number / 10}))
    return shelf


@pytest.mark.parametrize("num_requests", NUM_REQUESTS)
def test_mixed_requests_have_the_tokens_of_a_server_that_moves_nothing(
    num_requests: int, shelf: Path
) -> None:
    wishes = some_wishes(random.Random(num_requests), num_requests)
    with serving(shelf, ROOMY) as roomy:
        expected = answers(roomy, wishes)
    with serving(shelf, TIGHT) as tight, watched_memory(str(tight.base_url)) as sums:
        found = answers(tight, wishes)
        moved = tight.get("/v1/memory").json()["moved"]
    assert len(set(expected)) > num_requests // 2, "they would not tell adapters apart"
    assert found == expected
    assert min(moved["disk_to_host"], moved["host_to_device"]) > num_requests, moved
    assert len(sums) > 10
    assert all(parts == total for parts, total in sums)


def some_wishes(rng: random.Random, num_requests: int) -> list[Json]:
    """A third of the requests go on where another one's prompt ends."""
    asked: list[tuple[str, list[int]]] = []
    for _ in range(num_requests):
        model, known = f"a{rng.randrange(NUM_ADAPTERS)}", list[int]()
        if asked and rng.random() < 1 / 3:
            model, known = rng.choice(asked)
        new = rng.choices(range(3, 90), k=rng.randint(1, 40))
        asked.append((model, [*known[:80], *new]))
    return [
        {
            "model": model,
            "prompt": prompt,
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        }
        for model, prompt in asked
    ]


def answers(http: httpx.Client, wishes: Sequence[Json]) -> list[tuple[int, ...]]:
    """Tokens of each."""

    def answer(wish: Json) -> tuple[int, ...]:
        answer = http.post("/v1/completions", json=wish)
        assert answer.status_code == 200, answer.text
        [choice] = answer.json()["choices"]
        return tuple(choice["token_ids"])

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(answer, wishes))


@contextmanager
def serving(shelf: Path, room: Sequence[str]) -> Iterator[httpx.Client]:
    server = Server(
        shelf / "tiny", "--adapter-dir", shelf / "crowd", "--max-model-len", 128,
        "--deterministic", *room,
    )  # fmt: skip
    server.wait_for("/ready")
    with httpx.Client(base_url=server.url, timeout=HANG_S) as http:
        yield http
    code, err = server.stop(signal.SIGTERM)
    assert (code, "Traceback" in err) == (0, False), err
