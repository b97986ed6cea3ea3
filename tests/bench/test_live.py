"""A trace on a real engine: its calls find there what they find in its replay."""

import random

import pytest
import torch

from motet.bench.live.fit import fit
from motet.bench.live.world import World
from motet.bench.random_model import SHAPES, write_model
from motet.bench.replay.arm import Arm
from motet.bench.replay.costs import CostModel, Machine, Model, StepWork
from motet.client.workloads.trace import Call, Passage
from tests.bench.replays import a_trace


def a_call(call_id: int, agent: str, step: int) -> Call:
    """Its prompt is all that was said before, and a little more."""
    texts = [Passage(100 * ord(agent) + index, 64) for index in range(2 * step + 2)]
    return Call(
        call_id=call_id,
        session=agent,
        agent=agent,
        step=step,
        prompt=tuple(texts[:-1]),
        output=texts[-1],
        adapter=f"lora-{agent}",
        next_step=step + 1,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    directory = tmp_path_factory.mktemp("live")
    made = World(
        trace=a_trace(*(a_call(2 * step + ord(a) % 2, a, step) for step in range(3) for a in "ab")),
        model=directory / "model",
        adapters=directory / "adapters",
        cost_model="cpu-250m",
        dtype="float32",
        threads=torch.get_num_threads(),
        pool_ratio=4.0,
        page_tokens=64,
        link_gbps=1.0,
    )
    write_model(made.model, SHAPES["tiny"], 512, torch.float32)
    made.write_adapters()
    return made


def test_calls_find_what_they_find_in_the_replay(world: World) -> None:
    """Of what was said before, all but the page of the last answer's end, whose last token nobody
    has computed: 64 of 128 tokens, then 192 of 256. The model's own words do not count."""
    real, steps = world.live(Arm())
    virtual = world.replay(Arm())
    assert real.found_share == virtual.found_share == pytest.approx(256 / 384)
    assert real.loaded_bytes == virtual.loaded_bytes > 0
    assert len(steps) >= 3 * 64 and all(seconds > 0 for _, seconds in steps)
    assert real.busy_s == pytest.approx(sum(seconds for _, seconds in steps))
    assert real.busy_s < real.makespan_s


def test_adapters_are_as_large_as_the_replay_takes_them_for(world: World) -> None:
    setting = world.setting
    names = {name: 0 for name in world.trace.header.adapters}
    assert setting.state.adapter_pages.keys() == names.keys()
    core = world._engine(setting, Arm())
    pages = {adapter.name: adapter.num_pages for adapter in core.info.adapters}
    assert pages == setting.state.adapter_pages


def test_a_fit_finds_the_machine_again() -> None:
    rng = random.Random(0)
    machine = Machine(2e11, 15, 0.003, 0.0005, 0.0, 1, 0, 1, "by hand")
    cost = CostModel(Model(4, 64, 4, 2, 16, 1e6), machine)
    works = [
        StepWork(rng.randint(1, 64), 1, 10 ** rng.uniform(8, 11), 10 ** rng.uniform(7, 9))
        for _ in range(500)
    ]
    found = fit([(work, cost.seconds(work)) for work in works])
    wanted = (machine.flops, machine.memory_gbs, machine.step_s, machine.row_s)
    assert (found.flops, found.memory_gbs, found.step_s, found.row_s) == pytest.approx(
        wanted, rel=0.01
    )
