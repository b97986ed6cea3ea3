"""Models and adapters by their names on the Hugging Face hub."""

import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from motet.engine.config import EngineConfig
from motet.errors import ConfigError

HUB_ID = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII
)
"""`organisation/name` or `organisation/name@revision`."""

FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model"]
"""Weights, configuration and tokenizer: never a pickle, never code."""

OTHER_FILES = ["*/*", "consolidated*"]
"""Nothing below the top; no second copy of the weights in another layout."""

INDEX_FILE = "model.safetensors.index.json"
"""Names the shards of weights that are more than one file."""
_SHARD = "-of-"  # in the names of shards

CONNECT_TIMEOUT_S = 10.0


def repository_of(text: str) -> str | None:
    """The repository that a hub id names; None for anything that exists or is no hub id."""
    found = HUB_ID.fullmatch(text)
    return None if found is None or Path(text).exists() else found["repository"]


def fetch(config: EngineConfig) -> EngineConfig:
    """The configuration with a directory in place of every hub id. Raises ConfigError."""
    return replace(
        config,
        model=locate("model", config.model),
        adapters=tuple((name, locate("adapter", path)) for name, path in config.adapters),
    )


def locate(kind: str, text: str) -> str:
    """The directory that `text` means: itself, or the snapshot of a hub id.

    A snapshot in the cache is used as it is; otherwise it is downloaded. Raises ConfigError when
    neither is possible.
    """
    found = HUB_ID.fullmatch(text)
    if found is None or repository_of(text) is None:
        return text
    snapshot = _Snapshot(found["repository"], found["revision"])
    try:
        return snapshot.cached() or snapshot.downloaded()
    except Exception as error:  # whatever its transport raises, the hub does not give it
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{kind} '{text}' is no directory, and as a hub id it cannot be fetched ({reason}): "
            "give a directory, or an id that is in the cache or can be downloaded"
        ) from error


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One revision of a repository, by default its main branch."""

    repository: str
    revision: str | None

    def cached(self) -> str | None:
        """Its directory in the cache, if all weights are there."""
        try:
            directory = self._get(local_files_only=True)
        except LocalEntryNotFoundError:
            return None
        return directory if _has_weights(Path(directory)) else None

    def downloaded(self) -> str:
        """Its directory in the cache after a download, with bars if someone watches."""
        if not sys.stderr.isatty():
            disable_progress_bars()
        # What follows tries again for minutes where nobody answers; this does not.
        HfApi().model_info(self.repository, revision=self.revision, timeout=CONNECT_TIMEOUT_S)
        return self._get(local_files_only=False)

    def _get(self, *, local_files_only: bool) -> str:
        return snapshot_download(
            self.repository,
            revision=self.revision,
            allow_patterns=FILES,
            ignore_patterns=OTHER_FILES,
            local_files_only=local_files_only,
        )


def _has_weights(directory: Path) -> bool:
    """False as well where a download has been broken off: it leaves some of several shards."""
    found = {path.name for path in directory.glob("*.safetensors")}
    index = directory / INDEX_FILE
    if index.exists():
        return found.issuperset(json.loads(index.read_bytes())["weight_map"].values())
    return any(_SHARD not in name for name in found)
