"""The same engine without a server: equal requests have equal answers."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet import LLM, SamplingParams
from motet.engine import Engine
from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.start.build import build
from motet.errors import ConfigError, RequestError
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import Transfers
from motet.server.app import create_app
from motet.server.http.config import ServerConfig
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.model_factory import CHAT_TEMPLATE, make_llama, make_tokenizer

POOL_BYTES = 2**20
PROMPTS = ["a b c", "hello", "a b c d"]
MESSAGES = [{"role": "user", "content": "hello"}]
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0, "max_tokens": 12},
    "seeded choices": {"n": 3, "seed": 5, "top_p": 0.9, "max_tokens": 9},
    "a stop string": {"temperature": 0, "stop": ["a", "e"], "max_tokens": 40},
    "logprobs and penalties": {"seed": 1, "logprobs": 2, "frequency_penalty": 1, "max_tokens": 8},
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_llama(tmp_path_factory.mktemp("llm") / "tiny")
    return make_tokenizer(path, CHAT_TEMPLATE)


@pytest.fixture(scope="module")
def adapter_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(model_dir)
    return save_adapter(model, tmp_path_factory.mktemp("adapter"), ADAPTER_KINDS["all-linear"])


@pytest.fixture(scope="module")
def llm(model_dir: Path, adapter_dir: Path) -> LLM:
    return LLM(str(model_dir), {"tuned": str(adapter_dir)}, pool_bytes=POOL_BYTES)


@pytest.fixture(scope="module")
def ask(model_dir: Path, adapter_dir: Path) -> Iterator[Any]:
    """Posts a body to a server of the same model."""
    config = EngineConfig(
        str(model_dir),
        (("tuned", str(adapter_dir)),),
        ModelConfig(),
        PoolConfig(pool_bytes=POOL_BYTES),
    )

    async def post(path: str, body: dict[str, Any]) -> Any:
        engine = Engine(lambda: build(config, lambda *_: None))
        app = create_app(engine, ServerConfig())
        async with app.router.lifespan_context(app):
            await app.state.service.ready()
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://motet") as client:
                answer = await client.post(path, json=body)
                assert answer.is_success, answer.text
                return answer.json()

    yield lambda path, **body: asyncio.run(post(path, body))


@pytest.mark.parametrize("adapter", [None, "tuned"])
@pytest.mark.parametrize("sampling", SAMPLING.values(), ids=SAMPLING)
def test_completions_are_those_of_the_server(
    llm: LLM, ask: Any, sampling: dict[str, Any], adapter: str | None
) -> None:
    answers = llm.generate(PROMPTS, SamplingParams(**sampling), adapter=adapter)
    body = {"model": adapter or "", "prompt": PROMPTS, "return_token_ids": True}
    served = ask("/v1/completions", **body, **sampling)["choices"]
    completions = [completion for answer in answers for completion in answer.completions]
    assert len(completions) == len(served) == len(PROMPTS) * sampling.get("n", 1)
    for ours, theirs in zip(completions, served, strict=True):
        assert ours.text == theirs["text"]
        assert list(ours.token_ids) == theirs["token_ids"]
        assert ours.finish_reason == theirs["finish_reason"]
        assert ours.stop_reason == theirs["stop_reason"]
        if "logprobs" in sampling:
            logprobs = [entry.logprob for entry in ours.logprobs]
            assert logprobs == pytest.approx(theirs["logprobs"]["token_logprobs"])


def test_chat_is_that_of_the_server(llm: LLM, ask: Any) -> None:
    [answer] = llm.chat(MESSAGES, SamplingParams(temperature=0, max_tokens=10), adapter="tuned")
    body = {"model": "tuned", "messages": MESSAGES, "temperature": 0, "max_tokens": 10}
    [served] = ask("/v1/chat/completions", **body)["choices"]
    assert answer.text == served["message"]["content"]


def test_conversations_may_be_many(llm: LLM) -> None:
    sampling = SamplingParams(temperature=0, max_tokens=10)
    other = [{"role": "user", "content": "a b"}]
    together = llm.chat([MESSAGES, other], sampling)
    assert together == llm.chat(MESSAGES, sampling) + llm.chat(other, sampling)


def test_a_prompt_may_be_token_ids(llm: LLM) -> None:
    sampling = SamplingParams(temperature=0, max_tokens=5)
    one = llm.generate([5, 6, 7], sampling)
    assert one == llm.generate([(5, 6, 7)], sampling)
    assert one[0].prompt_token_ids == (5, 6, 7)


def test_each_prompt_may_have_its_own_adapter(llm: LLM) -> None:
    sampling = SamplingParams(temperature=0, max_tokens=10)
    mixed = llm.generate(["hello", "hello"], sampling, adapter=[None, "tuned"])
    alone = [llm.generate("hello", sampling, adapter=name)[0] for name in (None, "tuned")]
    assert mixed == alone
    assert mixed[0].text != mixed[1].text


def test_everything_is_given_back(llm: LLM) -> None:
    llm.generate(PROMPTS, SamplingParams(stop="a", max_tokens=30, n=2), adapter="tuned")
    llm._core.scheduler.check()
    assert not llm._core.scheduler.has_work


@pytest.mark.parametrize(
    ("prompts", "sampling", "adapter", "says"),
    [
        ("hello", {"temperature": 3}, None, "'temperature' is 3"),
        ("hello", {"logprobs": 21}, None, "'logprobs' is 21"),
        ("hello", {"max_tokens": 10**6}, None, "more than the context"),
        ("hello", {}, "nobody", "nobody"),
        (["a", "b"], {}, ["tuned"], "1 adapters for 2 prompts"),
        ([5, 99999], {}, None, "99999"),
        ([], {}, None, "'prompt' is empty"),
        ([[1.5]], {}, None, "prompt"),
        (b"hello", {}, None, "'prompt' is .*bytes"),
        ("\ud800", {}, None, "surrogate"),
    ],
)
def test_what_cannot_be_served_is_refused_and_leaves_nothing(
    llm: LLM, prompts: Any, sampling: dict[str, Any], adapter: Any, says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        llm.generate(prompts, SamplingParams(**sampling), adapter=adapter)
    assert not llm._core.scheduler.has_work


def test_what_chat_cannot_do_is_refused(llm: LLM) -> None:
    with pytest.raises(RequestError, match="tool_calls' is not supported"):
        llm.chat([{"role": "user", "content": "hi", "tool_calls": [{}]}])
    with pytest.raises(TypeError, match="temperature"):
        llm.chat(MESSAGES, temperature=0)  # type: ignore[call-arg]


def test_no_conversation_is_no_request(llm: LLM) -> None:
    with pytest.raises(RequestError, match="'messages'"):
        llm.chat([])


def test_an_interrupt_ends_what_runs(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = llm._core.executor.execute
    steps: list[int] = []

    def interrupted(plan: Any) -> Any:
        steps.append(plan.step)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)
        return execute(plan)

    with monkeypatch.context() as patch:
        patch.setattr(type(llm._core.executor), "execute", lambda self, plan: interrupted(plan))
        with pytest.raises(KeyboardInterrupt):
            llm.generate("hello", SamplingParams(max_tokens=50, ignore_eos=True))
    assert len(steps) == 3
    assert llm.generate("hello", SamplingParams(temperature=0, max_tokens=3))[0].text


def test_an_interrupt_ends_waiting_for_a_copy(
    model_dir: Path, adapter_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = LLM(str(model_dir), {"tuned": str(adapter_dir)}, pool_bytes=POOL_BYTES)
    main = threading.main_thread().ident
    assert main is not None
    ctrl_c = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    begin = llm._core.executor.begin
    held: list[Transfers] = []
    with monkeypatch.context() as patch:
        patch.setattr(type(llm._core.executor), "begin", lambda self, moves: held.append(moves))
        ctrl_c.start()
        start_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            llm.generate("hello", adapter="tuned")
        assert time.monotonic() - start_s < PATIENCE_S / 3
    for moves in held:  # late, but not lost
        begin(moves)
    assert llm.generate("hello", SamplingParams(max_tokens=3), adapter="tuned")[0].text


def test_an_unknown_option_is_named(model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="'pool_size' is no option of LLM"):
        LLM(str(model_dir), pool_size=3)


WITHOUT_WEB = """
import sys
sys.modules |= dict.fromkeys(("starlette", "fastapi", "uvicorn"))  # importing them fails
from motet import LLM
[answer] = LLM(sys.argv[1], pool_bytes=2**20).generate("a b c")
print(len(answer.completions[0].token_ids))
"""


def test_it_needs_no_web_framework(model_dir: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_WEB, str(model_dir)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "16\n"), ran.stderr
