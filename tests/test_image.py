"""The image and the workflow, as far as they can be checked without Docker and without GitHub."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from motet import demo
from tests.dockerfile import stages
from tests.test_packaging import BUILT_FROM, FOLDERS

ROOT = Path(__file__).parents[1]


def copied() -> list[tuple[str | None, list[str]]]:
    """(stage, sources) of each COPY; the stage is None for the build context."""
    instructions = [each for stage in stages() for each in stage.instructions]
    copies = []
    for instruction in instructions:
        if instruction.name == "COPY":
            *words, _target = instruction.words
            options = dict(word[2:].split("=") for word in words if word.startswith("--"))
            sources = [word for word in words if not word.startswith("--")]
            copies.append((options.get("from"), sources))
    return copies


def test_everything_that_is_copied_is_there() -> None:
    names = {stage.name for stage in stages()}
    assert len(names) == len(stages()) == 3
    for stage, sources in copied():
        if stage is None:
            assert all((ROOT / source).exists() for source in sources)
        else:
            assert stage in names


def test_the_context_has_what_the_wheel_is_built_from() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {"motet", *FOLDERS, *BUILT_FROM, "constraints.txt"} == sent


def test_the_image_serves_the_demo_to_everyone_but_not_as_root() -> None:
    image = stages()[-1]
    environment = dict(word.split("=") for word in image.last("ENV").words)
    assert image.last("USER").text not in {"root", "0"}
    assert image.last("ENTRYPOINT").command + image.last("CMD").command == ["motet", "serve"]
    assert environment["MOTET_HOST"] == "0.0.0.0"
    assert environment["MOTET_PORT"] == image.last("EXPOSE").text == "8000"


def test_the_commands_of_the_image_are_valid_shell() -> None:
    commands = [
        each.text for stage in stages() for each in stage.instructions if each.name == "RUN"
    ]
    assert commands
    for command in commands:
        subprocess.run(["sh", "-n", "-c", command], check=True)


def test_the_workflow_makes_what_ci_makes() -> None:
    jobs = the_workflow()["jobs"]
    steps = [step["run"] for step in jobs["test"]["steps"] if "run" in step]
    assert targets(steps) == targets((ROOT / ".ci/run").read_text().splitlines())
    assert targets(steps) == {"check", "test"}


def test_the_workflow_asks_the_image_in_a_voice_that_it_has() -> None:
    steps = [step.get("run", "") for step in the_workflow()["jobs"]["image"]["steps"]]
    [chat] = [shlex.split(step) for step in steps if "motet chat" in step]
    assert chat[chat.index("--model") + 1] in demo.VOICE_NAMES


def the_workflow() -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    return workflow


def targets(lines: list[str]) -> set[str]:
    """What `make` is told to make, without its variables."""
    made = [line.split()[1:] for line in lines if line.startswith("make ")]
    return {word for words in made for word in words if re.fullmatch("[a-z]+", word)}
