"""Runs `motet` commands in this process, as the console script does."""

import sys
from dataclasses import dataclass

import pytest

from motet import cli


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Commands:
    """Runs commands one after another; each ends before `run` returns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["motet", *map(str, arguments)])
        self._capsys.readouterr()  # what the test itself has said
        with pytest.raises(SystemExit) as ending:
            cli.main()
        said = self._capsys.readouterr()
        return Ended(int(ending.value.code or 0), said.out, said.err)
