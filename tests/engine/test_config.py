"""Numbers out of bounds are refused as soon as they are given."""

import math
from dataclasses import Field, fields
from typing import Any

import pytest

from motet.engine.config import BatchConfig, Bounded, ModelConfig, PoolConfig
from motet.errors import ConfigError

BOUNDED = [
    (config, field)
    for config in (ModelConfig, PoolConfig, BatchConfig)
    for field in fields(config)
    if field.metadata["most"] is not None
]


@pytest.mark.parametrize(("config", "field"), BOUNDED, ids=lambda value: getattr(value, "name", ""))
def test_a_number_has_a_flag_and_bounds(config: type[Bounded], field: Field[Any]) -> None:
    least, most = field.metadata["least"], field.metadata["most"]
    flag = "--" + field.name.replace("_", "-")
    for bound in (least, most):
        assert config(**{field.name: bound})
    for beyond in (-1, least - 1, most + 1, 10**22):
        with pytest.raises(ConfigError, match=f"{flag} is .*: it must be {least} to {most}$"):
            config(**{field.name: beyond})


def test_every_number_of_a_batch_is_bounded() -> None:
    numbers = {field for field in fields(BatchConfig) if field.type is int}
    assert {field for config, field in BOUNDED if config is BatchConfig} == numbers


@pytest.mark.parametrize("gbps", [0.0, -1.0, math.inf, math.nan])
def test_a_link_has_a_rate(gbps: float) -> None:
    assert PoolConfig(link_gbps=0.001).link_gbps == 0.001
    with pytest.raises(ConfigError, match=f"--link-gbps is {gbps}: give gigabits per second above"):
        PoolConfig(link_gbps=gbps)
