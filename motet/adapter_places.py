"""Where adapters may lie on this machine, and that nothing leads out of there."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

from motet.errors import AdapterError, ConfigError, Forbidden, ModelNotFound, RequestError
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS

log = logging.getLogger(__name__)

MAX_NAME_LENGTH = 512
"""Characters that an adapter's name may have in a request."""


@dataclass(frozen=True, slots=True)
class AdapterPlaces:
    """Directories that adapters are taken from while the server runs. Paths have no links.

    Every method may wait for a disk. The files that it looks at may change afterwards: whoever may
    write there is trusted as far as the engine's reader trusts files.
    """

    directory: str | None = None
    """Has an adapter in each sub-directory, under its name."""
    allowed: tuple[str, ...] = ()
    """Adapters may be loaded from there too, by path."""
    named: frozenset[str] = frozenset()
    """Adapters that the operator names: they may be made of links to anywhere."""

    @property
    def roots(self) -> tuple[str, ...]:
        return (self.directory, *self.allowed) if self.directory else self.allowed

    def find(self, name: str) -> str | None:
        """The path of the adapter that `directory` has under `name`, for the price of one stat."""
        if self.directory is None or not is_plain(name):
            return None
        path = os.path.join(self.directory, name)
        if not os.path.isfile(os.path.join(path, ADAPTER_CONFIG)):
            return None
        try:
            self.check(path)
        except AdapterError as error:
            log.warning("%s (found in --adapter-dir: left out)", error)
            return None
        return path

    def locate(self, path: str) -> str:
        """The directory that a client means by `path`, which counts from `directory`.

        Raises Forbidden for what lies elsewhere, whether it is there or not, ModelNotFound for what
        does not exist.
        """
        if "\0" in path:
            raise RequestError("'lora_path' has a NUL character: leave it out", param="lora_path")
        if not os.path.isabs(path) and self.directory is None:
            raise RequestError(
                f"'lora_path' is {path!r:.200}: give an absolute path, since this server has no "
                "--adapter-dir to count from",
                param="lora_path",
            )
        real = os.path.realpath(os.path.join(self.directory or "", path))
        if not self._is_inside(real):
            raise Forbidden(
                f"'lora_path' is {path!r:.200}, which is not where this server takes adapters: "
                "put it into its --adapter-dir, or name a directory around it with "
                "--allow-adapter-path",
                code="path_not_allowed",
                param="lora_path",
            )
        if not os.path.isdir(real):
            raise ModelNotFound(
                f"'lora_path' is {path!r:.200}, where there is no directory: check the path",
                code="adapter_path_not_found",
                param="lora_path",
            )
        try:
            self.check(real)
        except AdapterError as error:
            raise Forbidden(str(error), code="path_not_allowed", param="lora_path") from error
        return real

    def check(self, path: str) -> None:
        """Raise AdapterError if something in one of the places leads out of all of them."""
        if path in self.named or not any(_is_in(root, path) for root in self.roots):
            return
        stray = self._stray(path)
        if stray is not None:
            raise AdapterError(
                f"{stray!r} leads out of --adapter-dir and --allow-adapter-path: move what it "
                "points to there, or name the adapter with --adapter"
            )

    def _stray(self, path: str) -> str | None:
        """The first that leads out: the adapter itself, or a link in it."""
        if os.path.islink(path) and not self._is_inside(os.path.realpath(path)):
            return path
        links = _links_in(path)
        return next((link for link in links if not self._is_inside(os.path.realpath(link))), None)

    def _is_inside(self, real: str) -> bool:
        return any(_is_in(root, real) for root in self.roots)


NOWHERE = AdapterPlaces()


def scan(flag: str, given: str) -> tuple[str, list[str]]:
    """The path of the directory of adapters `given`, and the names of all that are in it.

    A sub-directory that looks like an adapter is one, or somebody will think so. Costs a few system
    calls for each. Raises ConfigError.
    """
    try:
        root = os.path.realpath(given, strict=True)
        with os.scandir(root) as entries:
            found = [entry.name for entry in entries if entry.is_dir() and _is_adapter(entry.path)]
    except OSError as error:
        raise ConfigError(f"{flag} is '{given}', which cannot be read: {error.strerror}") from error
    if os.path.exists(os.path.join(root, ADAPTER_CONFIG)):
        raise ConfigError(
            f"{flag} is '{given}', which is an adapter, not a directory of them: "
            f"name it with --adapter {os.path.basename(root)}={given}"
        )
    return root, sorted(found)


def directory_given(flag: str, given: str) -> str:
    """Its path without links. Raises ConfigError unless it is a directory."""
    real = os.path.realpath(given)
    if not os.path.isdir(real):
        raise ConfigError(f"{flag} is '{given}', which is no directory: give one that exists")
    return real


def name_fault(name: str) -> str | None:
    """Why requests cannot name an adapter so, and what to do."""
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        return f"give 1 to {MAX_NAME_LENGTH} printable characters"
    if ":" in name:
        return "choose one without ':', which requests use in 'base:adapter'"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "it is a name, not a path: leave out '..' and what is empty between '/'"
    return None


def is_plain(name: str) -> bool:
    """Can it be the name of an adapter, and of a directory in another one?"""
    return "/" not in name and name_fault(name) is None


def _is_adapter(path: str) -> bool:
    traces = (os.path.join(path, name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))
    return any(map(os.path.exists, traces)) or _has_checkpoints(path)


def _has_checkpoints(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(os.path.exists(os.path.join(entry.path, ADAPTER_CONFIG)) for entry in entries)


def _links_in(path: str) -> Iterator[str]:
    """All links below it. None of them is followed."""
    try:
        entries = list(os.scandir(path))
    except OSError:  # it has gone, or is no directory: whoever reads it says so
        return
    for entry in entries:
        if entry.is_symlink():
            yield entry.path
        elif entry.is_dir(follow_symlinks=False):
            yield from _links_in(entry.path)


def _is_in(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
