"""The load bench against a real server whose engine plays a script."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from motet.bench.config import LoadConfig
from motet.bench.load import LoadRun, run_load
from motet.engine import FinishReason
from motet.engine.request import Request
from motet.errors import ConfigError
from tests.model_factory import make_tokenizer
from tests.server.scripted import Script, ScriptedCore, an_info, babbles, fails, listening

SMALL = LoadConfig(num_prompts=8, concurrency=3, input_len=4, output_len=5)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("model"))


def measure(
    model_dir: Path,
    config: LoadConfig,
    *models: str,
    script: Script = babbles,
    link_gbps: float | None = None,
) -> tuple[LoadRun, list[Request]]:
    """The run, and the requests as the engine saw them."""

    async def run() -> tuple[LoadRun, list[Request]]:
        core = ScriptedCore(script, an_info(model_dir, link_gbps=link_gbps))
        async with listening(core) as url:
            target = replace(config, base_url=url)
            return await run_load(target, models, lambda: None), core.requests

    return asyncio.run(run())


def test_every_request_is_answered_in_full(model_dir: Path) -> None:
    run, requests = measure(model_dir, SMALL)
    assert run.models == ("base",)
    assert [record.num_output_tokens for record in run.records] == [5] * 8
    assert [record.num_input_tokens for record in run.records] == [4] * 8
    assert all(request.sampling.stop_token_ids == () for request in requests)


def test_no_more_requests_are_in_flight_than_asked_for(model_dir: Path) -> None:
    run, _ = measure(model_dir, SMALL)
    for record in run.records:
        overlapping = [r for r in run.records if r.start_s <= record.start_s < r.piece_times_s[-1]]
        assert len(overlapping) <= 3


@pytest.mark.parametrize("link_gbps", [None, 8.0])
def test_a_simulated_link_is_part_of_the_result(model_dir: Path, link_gbps: float | None) -> None:
    run, _ = measure(model_dir, SMALL, link_gbps=link_gbps)
    assert run.simulated_link_gbps == link_gbps


def test_models_take_turns(model_dir: Path) -> None:
    run, _ = measure(model_dir, SMALL, "tuned", "base")
    assert [record.model for record in run.records] == ["tuned", "base"] * 4


def test_equal_seeds_send_equal_requests(model_dir: Path) -> None:
    def prompts_and_models(seed: int) -> tuple[set[tuple[int, ...]], list[str]]:
        config = replace(SMALL, seed=seed, model_order="random")
        run, requests = measure(model_dir, config, "tuned", "base")
        return {request.prompt for request in requests}, [record.model for record in run.records]

    assert prompts_and_models(1) == prompts_and_models(1)
    assert prompts_and_models(1) != prompts_and_models(2)


def test_prompts_stay_below_the_vocabulary_size_that_is_given(model_dir: Path) -> None:
    _, requests = measure(model_dir, replace(SMALL, vocab_size=3))
    assert {token for request in requests for token in request.prompt} <= {0, 1, 2}


def test_a_request_that_fails_is_part_of_the_result(model_dir: Path) -> None:
    run, _ = measure(model_dir, SMALL, script=fails(FinishReason.ERROR, "out of luck", after=2))
    assert [record.error and "out of luck" in record.error for record in run.records] == [True] * 8


def test_a_model_that_is_not_served_is_named(model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="no model 'nope': it has base, tuned"):
        measure(model_dir, SMALL, "tuned", "nope")
