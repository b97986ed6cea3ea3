"""Decides what runs next and runs it."""

from motet.engine.engine import Engine, EngineStatus, Unfinished
from motet.engine.output import EngineInfo, EngineStats, FinishReason, TokenLogprobs, TokenOutput
from motet.engine.request import Request, SamplingParams
from motet.memory.adapter import Adapter

__all__ = [
    "Adapter",
    "Engine",
    "EngineInfo",
    "EngineStats",
    "EngineStatus",
    "FinishReason",
    "Request",
    "SamplingParams",
    "TokenLogprobs",
    "TokenOutput",
    "Unfinished",
]
