"""Reads the Dockerfile."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PATH = Path(__file__).parents[1] / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        return self.text.split()

    @property
    def command(self) -> list[str]:
        """The exec form, behind options if it has any."""
        command: list[str] = json.loads(self.text[self.text.index("[") :])
        return command


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between one FROM and the next."""

    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, name: str) -> Instruction:
        return [each for each in self.instructions if each.name == name][-1]


def stages() -> list[Stage]:
    """All of them, in order. Fails for one without a name."""
    found: list[Stage] = []
    for instruction in _instructions(PATH.read_text()):
        if instruction.name == "FROM":
            _, as_, name = instruction.words
            assert as_ == "AS"
            found.append(Stage(name))
        elif found:  # what stands before the first is for all
            found[-1].instructions.append(instruction)
    return found


def _instructions(text: str) -> Iterator[Instruction]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        yield Instruction(name, rest)
