"""Sampling defaults that the makers of a model ship with it, for what a client leaves out."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from motet.client.protocol import SamplingFields
from motet.errors import ModelError
from motet.file_names import GENERATION_CONFIG

SAMPLING_KEYS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""Keys of the file that are fields of requests. What else it has does not touch requests."""

LIMIT_KEY = "max_new_tokens"

_REMEDY = "correct it, or serve with --generation-config none"


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What a request has when it says nothing else."""

    values: Mapping[str, object]
    """Field -> default."""
    max_tokens: int | None = None
    """Limit of the output without `max_tokens` and `max_completion_tokens`.

    It is no field of `values`: a prompt that leaves less room than this is to be served with what
    is left, while a limit that the client gave and that does not fit is refused.
    """

    @classmethod
    def load(cls, directory: str, mode: str) -> "SamplingDefaults":
        """None with mode "none"; with "auto", those of the model directory.

        Raises ModelError when the file has what no request may have.
        """
        if mode == "none":
            return NO_DEFAULTS
        content = _read(Path(directory) / GENERATION_CONFIG)
        values = {
            key: _checked(directory, key, key, content[key])
            for key in SAMPLING_KEYS
            if content.get(key) is not None
        }
        limit = content.get(LIMIT_KEY)
        if limit is None:
            return cls(values)
        return cls(values, _checked(directory, LIMIT_KEY, "max_tokens", limit))

    def apply(self, fields: dict[str, object]) -> dict[str, object]:
        """The fields of a body, and the defaults for those that it leaves out."""
        return {**self.values, **fields}

    def __str__(self) -> str:
        """One line for the operator; empty without defaults."""
        limit = {} if self.max_tokens is None else {LIMIT_KEY: self.max_tokens}
        return ", ".join(f"{key} {value}" for key, value in {**self.values, **limit}.items())


NO_DEFAULTS = SamplingDefaults({})


def _read(path: Path) -> dict[str, Any]:
    """The object in `path`, empty without one."""
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}): {_REMEDY}") from error


def _checked(directory: str, key: str, field: str, value: object) -> Any:
    """`value` as the type of `field` in requests."""
    try:
        return getattr(msgspec.convert({field: value}, SamplingFields), field)
    except msgspec.ValidationError as error:
        problem = str(error).partition(" - at ")[0].replace("`", "")
        path = Path(directory) / GENERATION_CONFIG
        raise ModelError(
            f"{path} has {key} {reprlib.repr(value)} ({problem}): {_REMEDY}"
        ) from error
