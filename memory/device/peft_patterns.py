"""The keys of `rank_pattern` and `alpha_pattern`: regular expressions that anybody may write."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

import regex

from motet.file_names import ADAPTER_CONFIG

T = TypeVar("T")

MAX_LENGTH = 512
"""Of a key."""

TIME_S = 0.5
"""For all that the expressions of an adapter are matched with. A usual one takes microseconds; some
would take years."""

_is_plain = re.compile(r"[\w.]+").fullmatch
# What `regex` reads otherwise than `re`, which PEFT uses: fuzzy counts, classes of POSIX.
_is_other = re.compile(r"\{(?!\d*(,\d*)?\})|\[\[|\[:").search


class BadPattern(ValueError):
    """A key that cannot be matched; the message says which, why, and what to do."""


@dataclass(slots=True)
class Patterns(Generic[T]):
    """Values by expressions for the paths of modules, with PEFT's meaning, in bounded time."""

    name: str
    """Of the field that holds them."""
    values: Mapping[str, T]
    """Raises BadPattern where a key is no expression."""
    _left_s: float = field(default=TIME_S, init=False, compare=False)

    def __post_init__(self) -> None:
        for key in self.values:
            fault = _fault_of(key)
            if fault:
                raise self._bad(key, fault)

    def find(self, path: str, default: T) -> T:
        """The value of the first key that fits, as `peft.utils.other.get_pattern_key` finds it.

        Raises BadPattern when all keys together have taken too long.
        """
        for key, value in self.values.items():
            if _is_end(key, path) if _is_plain(key) else self._fits(key, path):
                return value
        return default

    def _fits(self, key: str, path: str) -> bool:
        start_s = monotonic()
        try:
            found = regex.match(_whole(key), path, timeout=self._left_s, concurrent=True)
        except TimeoutError:
            self._left_s = 0
        else:
            self._left_s -= monotonic() - start_s
        if self._left_s <= 0:
            raise self._bad(key, "takes too long to match: write the names of modules instead")
        return found is not None

    def _bad(self, key: str, fault: str) -> BadPattern:
        return BadPattern(f"{self.name} in {ADAPTER_CONFIG}: the key {reprlib.repr(key)} {fault}")


def _whole(key: str) -> str:
    return rf"(.*\.)?({key})$"


def _is_end(key: str, path: str) -> bool:
    """Whether a key of names and points, which stand for any character, fits a path."""
    start = len(path) - len(key)
    if start < 0 or (start and path[start - 1] != "."):
        return False
    return all(wanted in (".", found) for wanted, found in zip(key, path[start:], strict=True))


def _fault_of(key: str) -> str | None:
    """Why it cannot be matched."""
    if len(key) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters: correct it"
    if _is_plain(key):
        return None
    try:
        if _is_other(key):
            raise re.error("'{' without a count, or brackets in brackets")
        re.compile(_whole(key))
        regex.compile(_whole(key))
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        return f"is no regular expression ({error}): correct it"
    return None
