"""The sample that the README serves."""

from pathlib import Path

from motet.bench.sample import RANKS, write_sample
from motet.engine.config import EngineConfig, PoolConfig
from motet.engine.device.build import build


def test_the_sample_can_be_served_with_all_its_adapters(tmp_path: Path) -> None:
    write_sample(tmp_path)
    adapters = tuple((f"a{rank}", str(tmp_path / f"a{rank}")) for rank in RANKS)
    pool = PoolConfig(pool_bytes=32 * 1024**2)
    config = EngineConfig(str(tmp_path / "model"), adapters, pool=pool)
    core = build(config, lambda stage, done, total: None)
    assert [adapter.max_rank for adapter in core.info.adapters] == list(RANKS)
