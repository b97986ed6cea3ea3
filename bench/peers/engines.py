"""The engines that can be compared, as a table."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from motet.bench.peers.engine import PeerEngine, Setup
from motet.bench.peers.motet_engine import MotetEngine
from motet.bench.peers.sglang_engine import SglangEngine
from motet.bench.peers.static_batch import PeftEngine, TransformersEngine
from motet.bench.peers.vllm_engine import VllmEngine
from motet.bench.peers.workload import Scenario


@dataclass(frozen=True, slots=True)
class EngineKind:
    """How to load an engine, and what it is compared in."""

    load: Callable[[Setup], PeerEngine]
    scenarios: tuple[Scenario, ...]


ENGINES = {  # by the name of the distribution that has it
    "motet": EngineKind(MotetEngine, tuple(Scenario)),
    "transformers": EngineKind(TransformersEngine, (Scenario.BASE,)),
    "peft": EngineKind(PeftEngine, (Scenario.MIXED,)),
    "vllm": EngineKind(VllmEngine, tuple(Scenario)),
    "sglang": EngineKind(SglangEngine, tuple(Scenario)),
}

REFERENCES = {Scenario.BASE: "transformers", Scenario.MIXED: "peft"}
"""Whose rate is 1 and whose tokens are right."""

NOT_COMPARED = {
    "llama.cpp": "not compared: it reads GGUF files, and this model is written for the others"
}
"""Engines that people look for, and why they have no numbers."""


def installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
