"""The page about replays: what it shows can be typed, and it names everything there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from motet.bench.replay.arm import Hints
from motet.bench.replay.config import ArmsConfig, SettingConfig, TraceConfig
from motet.bench.replay.costs import COST_MODELS
from motet.client.workloads import READERS, WORKLOADS
from motet.memory.eviction import EVICTION
from tests.docs.page import commands

PAGE = (Path(__file__).parents[2] / "docs/replay.md").read_text()
NAMES = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))


@pytest.mark.parametrize("command", [each.text for each in commands(PAGE)])
def test_what_is_shown_can_be_typed(command: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = subprocess.run(
        ["bash", "-ec", command],
        env=os.environ | {"PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert "Times are those of a model of a machine" in said.stdout


def test_every_name_is_on_the_page() -> None:
    hints = {hints.value for hints in Hints if hints is not Hints.TRUTH}
    known = {*WORKLOADS, *EVICTION, *COST_MODELS, *hints, *READERS} - {"motet"}
    assert known - NAMES == set()


def test_every_option_is_on_the_page() -> None:
    options = {
        f"--{name.replace('_', '-')}"
        for config in (TraceConfig, SettingConfig, ArmsConfig)
        for name in config.__slots__
    }
    shown = {*re.findall(r"--[\w-]+", PAGE), "--jobs"}
    assert options - shown == set()
