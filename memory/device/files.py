"""Opens the files of a model or adapter directory, whatever lies there in their place."""

import json
import reprlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open

from motet.errors import AdapterError, ConfigError, ModelError

MAX_JSON_BYTES = 16 * 1024**2
"""Far above every real configuration and index; a link to an endless file stops here."""

MAX_MESSAGE = 1000
"""Characters of a message about a file."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose files they are: how messages name the directory, and what to give instead."""

    kind: str
    remedy: str
    error: type[ConfigError]

    def fault(self, directory: Path, message: str) -> ConfigError:
        return self.error(f"{self.kind} '{directory}': {message}")


MODEL = Origin("model", "give a Hugging Face model directory", ModelError)
ADAPTER = Origin("adapter", "give the directory PEFT saved", AdapterError)


def shown(text: str) -> str:
    """Text of a file for a message of one line: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shortened(message: str) -> str:
    """Without its middle where it is too long: names and shapes of a file may have any length."""
    if len(message) <= MAX_MESSAGE:
        return message
    end = MAX_MESSAGE // 2
    return f"{message[:end]} ... {message[-end:]}"


def must_be_directory(path: Path, origin: Origin) -> None:
    """Raises the error of `origin` unless the path is that of a directory."""
    try:
        fault = "" if stat.S_ISDIR(path.stat().st_mode) else "is a file"
    except FileNotFoundError:
        fault = "does not exist"
    except OSError as error:
        fault = f"cannot be opened ({error.strerror})"
    if fault:
        raise origin.error(f"{origin.kind} '{path}' {fault}: {origin.remedy}")


@contextmanager
def opened(path: Path, origin: Origin) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Raises the error of `origin` for anything else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise origin.fault(path.parent, f"{path.name} is no regular file: {origin.remedy}")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise origin.fault(path.parent, f"{path.name} is missing: {origin.remedy}") from None
    except OSError as error:
        raise origin.fault(
            path.parent,
            f"{path.name} cannot be read ({error.strerror}): check its permissions and its disk",
        ) from None


@contextmanager
def opened_tensors(path: Path, origin: Origin) -> Iterator[Any]:
    """A mapped safetensors file, its header checked against its length."""
    try:
        with opened(path, origin), safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise origin.fault(
            path.parent,
            f"{path.name} is not a complete safetensors file ({error}): copy it again",
        ) from None


def read_json(path: Path, origin: Origin) -> dict[str, Any]:
    """The object in a JSON file. Raises the error of `origin`, one line."""
    with opened(path, origin) as file:
        text = file.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise origin.fault(
            path.parent, f"{path.name} is larger than {MAX_JSON_BYTES} bytes: copy it again"
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise origin.fault(
            path.parent, f"{path.name} is not valid JSON ({error}): correct it or copy it again"
        ) from None
    if not isinstance(content, dict):
        raise origin.fault(
            path.parent, f"{path.name} is {reprlib.repr(content)}, not an object: {origin.remedy}"
        )
    return content
