"""Refuses a config.json that describes its rotary embedding twice, and in two ways.

transformers reads one of the descriptions and drops the other without a word: `rope_scaling`
replaces `rope_parameters` as a whole, and `rope_theta` beside a theta in there has no effect.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from transformers.modeling_rope_utils import RotaryEmbeddingConfigMixin

from motet.errors import ModelError

NEW, OLD = "rope_parameters", "rope_scaling"
THETA, TYPE, ORIGINAL = "rope_theta", "rope_type", "original_max_position_embeddings"

DEFAULTS = {THETA: RotaryEmbeddingConfigMixin.default_theta, TYPE: "default"}
"""What transformers puts in the place of what nothing says; equal in all families served."""


def check_rope_fields(content: Mapping[str, Any]) -> None:
    """Raise ModelError, with both values, unless a parsed config.json says one thing only."""
    described = [_Description(name, content) for name in (NEW, OLD) if content.get(name)]
    for description in described:
        description.check()
    if len(described) == 2:
        _must_agree(*described)


class _Description:
    """What one of the two fields says, with what transformers adds to it."""

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        self.name = name
        self._content = content
        self._said: Any = content[name]

    def check(self) -> None:
        said, content = self._said, self._content
        if not isinstance(said, dict):
            raise ModelError(f"{self.name} is {reprlib.repr(said)}: write it as an object")
        for key, value in said.items():
            if isinstance(value, dict):
                raise ModelError(
                    f"{self.name} has values of its own for '{key}': one rotary embedding for "
                    "all layers is served; choose a model with one"
                )
        old_type = said.get("type")
        if TYPE not in said and old_type is None and "factor" in said:
            raise ModelError(
                f"{self.name} has factor {said['factor']} but no {TYPE}: add it to config.json"
            )
        if old_type is not None and said.get(TYPE, old_type) != old_type:
            raise _disagreement(f"type {old_type!r}", f"{TYPE} {said[TYPE]!r}", f"in {self.name}")
        for key in (THETA, ORIGINAL):
            beside = content.get(key)
            if beside is not None and said.get(key, beside) != beside:
                raise _disagreement(f"{key} {beside}", f"{said[key]}", f"in {self.name}")

    def meaning(self) -> dict[str, Any]:
        content, said = self._content, {k: v for k, v in self._said.items() if v is not None}
        said.setdefault(TYPE, said.pop("type", DEFAULTS[TYPE]))
        said.pop("type", None)
        said.setdefault(THETA, content.get(THETA, DEFAULTS[THETA]))
        return {ORIGINAL: content.get(ORIGINAL, content.get("max_position_embeddings"))} | said


def _must_agree(new: _Description, old: _Description) -> None:
    ours, theirs = new.meaning(), old.meaning()
    for key in sorted(ours.keys() | theirs.keys(), reverse=True):  # the type and theta first
        if ours.get(key) != theirs.get(key):
            raise _disagreement(
                f"{key} {ours.get(key)!r} in {NEW}", f"{theirs.get(key)!r}", f"with {OLD}"
            )


def _disagreement(one: str, other: str, where: str) -> ModelError:
    return ModelError(f"there is {one}, but {other} {where}: keep the right one in config.json")
