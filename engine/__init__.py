"""Decides what runs next and runs it."""

from motet.engine.adapter_mirror import AdapterMirror
from motet.engine.engine import Engine, EngineStatus, Unfinished
from motet.engine.output import EngineInfo, EngineStats, FinishReason, TokenLogprobs, TokenOutput
from motet.engine.request import Request, SamplingParams
from motet.memory.adapter import Adapter, AdapterNews, AdapterStatus, Standing
from motet.memory.agent import (
    AgentCall,
    AgentKey,
    AgentStatus,
    Happening,
    Moved,
    NextUse,
    Outcome,
    Pushed,
    Target,
    Unit,
    Verb,
)
from motet.memory.residency import Residency

__all__ = [
    "Adapter",
    "AdapterMirror",
    "AdapterNews",
    "AdapterStatus",
    "AgentCall",
    "AgentKey",
    "AgentStatus",
    "Engine",
    "EngineInfo",
    "EngineStats",
    "EngineStatus",
    "FinishReason",
    "Happening",
    "Moved",
    "NextUse",
    "Outcome",
    "Pushed",
    "Request",
    "Residency",
    "SamplingParams",
    "Standing",
    "Target",
    "TokenLogprobs",
    "TokenOutput",
    "Unfinished",
    "Unit",
    "Verb",
]
