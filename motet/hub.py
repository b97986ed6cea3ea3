"""Models and adapters by their names on the Hugging Face hub."""

import json
import logging
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from motet.engine.config import EngineConfig
from motet.errors import ConfigError
from motet.file_names import (
    ADAPTER_CONFIG,
    MODEL_CONFIG,
    MODEL_WEIGHTS_INDEX,
    SENTENCEPIECE_MODEL,
    TOKENIZER,
    TOKENIZER_CONFIG,
)

log = logging.getLogger(__name__)

HUB_ID = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII
)
"""`organisation/name` or `organisation/name@revision`."""

FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", SENTENCEPIECE_MODEL]
"""Weights, configuration and tokenizer: never a pickle, never code."""

OTHER_FILES = ["*/*", "consolidated*"]
"""Nothing below the top; no second copy of the weights in another layout."""

TOKENIZER_FILES = (TOKENIZER, SENTENCEPIECE_MODEL, "vocab.json")

EXPECTED = {
    "model": ((MODEL_CONFIG,), TOKENIZER_FILES, (TOKENIZER_CONFIG,)),
    "adapter": ((ADAPTER_CONFIG,),),
}
"""Kind -> names of files, one of each of which is in a snapshot that is whole."""

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

    A whole snapshot in the cache is used as it is. Otherwise it is downloaded, or completed at the
    same commit; where that fails, one that has its weights is used with a warning that says what
    it lacks. Raises ConfigError when nothing is possible.
    """
    found = HUB_ID.fullmatch(text)
    if found is None or repository_of(text) is None:
        return text
    snapshot = _Snapshot(found["repository"], found["revision"])
    try:
        cached = snapshot.cached()
        if cached is None:
            return snapshot.downloaded()
    except Exception as error:  # whatever its transport raises, the hub does not give it
        raise ConfigError(
            f"{kind} '{text}' is no directory, and as a hub id it cannot be fetched "
            f"({_one_line(error)}): give a directory, or an id that is in the cache or can be "
            "downloaded"
        ) from error
    return str(cached.directory) if cached.is_whole(kind) else _completed(kind, text, cached)


def _completed(kind: str, text: str, cached: "_Cached") -> str:
    try:
        return cached.snapshot.downloaded()
    except Exception as error:  # the same
        has_tokenizer = kind != "model" or _has_any(cached.directory, TOKENIZER_FILES)
        log.warning(
            "%s '%s': its snapshot in the cache is not whole and cannot be completed (%s)%s",
            kind, text, _one_line(error),
            "" if has_tokenizer else ": it has no tokenizer, so requests must hold token ids",
        )  # fmt: skip
        return str(cached.directory)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One revision of a repository, by default its main branch."""

    repository: str
    revision: str | None

    def cached(self) -> "_Cached | None":
        """What the cache has of it, if all weights are there."""
        try:
            directory, lacks_listed = Path(self._get(local_files_only=True)), False
        except IncompleteSnapshotError as error:
            directory, lacks_listed = Path(error.snapshot_path), True
        except LocalEntryNotFoundError:
            return None
        at_commit = replace(self, revision=directory.name)
        has_weights = _has_weights(directory)
        return _Cached(directory, at_commit, lacks_listed) if has_weights else None

    def downloaded(self) -> str:
        """Its directory in the cache after a download, with bars if someone watches."""
        if not sys.stderr.isatty():
            disable_progress_bars()
        # What follows tries again for minutes where nobody answers; this does not.
        HfApi().model_info(self.repository, revision=self.revision, timeout=CONNECT_TIMEOUT_S)
        return self._get(local_files_only=False)

    def is_listed(self) -> bool:
        """The cache knows which files there are: it does after any download of a snapshot."""
        try:
            get_cached_repo_tree(self.repository, revision=self.revision)
        except CachedRepoTreeNotFoundError:
            return False
        return True

    def _get(self, *, local_files_only: bool) -> str:
        return snapshot_download(
            self.repository,
            revision=self.revision,
            allow_patterns=FILES,
            ignore_patterns=OTHER_FILES,
            local_files_only=local_files_only,
        )


@dataclass(frozen=True, slots=True)
class _Cached:
    """All weights of a snapshot, and perhaps the rest of it."""

    directory: Path
    snapshot: _Snapshot
    """At the commit of these weights: the branch may have moved on."""
    lacks_listed: bool
    """The cache lists files that are not there."""

    def is_whole(self, kind: str) -> bool:
        """By the hub's list of files; where the cache has none, by what every such kind has.

        transformers and PEFT fetch file by file, and weights before a tokenizer.
        """
        if self.snapshot.is_listed():
            return not self.lacks_listed
        return all(_has_any(self.directory, names) for names in EXPECTED[kind])


def _has_any(directory: Path, names: Iterable[str]) -> bool:
    return any((directory / name).exists() for name in names)


def _has_weights(directory: Path) -> bool:
    """False as well where a download has been broken off: it leaves some of several shards."""
    found = {path.name for path in directory.glob("*.safetensors")}
    index = directory / MODEL_WEIGHTS_INDEX
    if index.exists():
        return found.issuperset(json.loads(index.read_bytes())["weight_map"].values())
    return any(_SHARD not in name for name in found)
