"""Compiles the C++ of this folder for this very processor, once: the library is kept in a cache."""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parent
COMPILERS = ("g++", "c++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
PARALLEL = "-fopenmp"
TIMEOUT_S = 300

CPUINFO = Path("/proc/cpuinfo")

Progress = Callable[[int, int], None]
"""Called with how many files are compiled, and of how many."""

log = logging.getLogger(__name__)


class NotCompiled(Exception):
    """There is no library; the message says why, in one line."""


def load_library(progress: Progress) -> ctypes.CDLL:
    """From the cache, or compiled now, which reports progress. Raises NotCompiled."""
    try:
        return _load_library(progress)
    except (OSError, RuntimeError) as error:  # no room, no home, nowhere to write
        raise NotCompiled(f"the kernels cannot be compiled: {error}") from error


def _load_library(progress: Progress) -> ctypes.CDLL:
    kept = cache_folder() / f"kernels-{_key()}.so"
    if kept.is_file():
        try:
            return ctypes.CDLL(str(kept))
        except OSError as error:  # cut off by a full disk, say
            log.warning("compiling the kernels again: %s", error)
    failures: list[NotCompiled] = []
    for compiler in _compilers():
        try:
            return _compile(compiler, kept, progress)
        except NotCompiled as failure:
            failures.append(failure)
    raise failures[0]


def _compilers() -> list[list[str]]:
    """The command of CXX if it is set, else of each that is installed. Raises NotCompiled."""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    commands = [shlex.split(name) for name in wanted]
    found = [command for command in commands if command and shutil.which(command[0])]
    if not found:
        raise NotCompiled(f"no C++ compiler is installed ({', '.join(wanted)})")
    return found


def cache_folder() -> Path:
    """Of the user, for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "motet"


def processor() -> tuple[str, str, list[str]]:
    """What tells this one from others: a home may be shared by machines."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    features = {line for line in lines if line.lower().startswith(("flags", "features"))}
    return platform.machine(), platform.processor(), sorted(features)


def _key() -> str:
    """Differs for other sources and processors."""
    sha = hashlib.sha256(repr((FLAGS, processor())).encode())
    for source in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]):
        sha.update(source.name.encode() + source.read_bytes())
    return sha.hexdigest()[:16]


def _compile(compiler: list[str], kept: Path, progress: Progress) -> ctypes.CDLL:
    """With all threads if the compiler can and torch has the runtime for it, else with one.

    Only the better library is kept.
    """
    with _work_folder(kept.parent) as folder:
        try:
            built = _build([*compiler, PARALLEL], folder, progress)
            library = _open(built)
        except NotCompiled:
            library = _open(_build(compiler, folder, progress))
            log.warning("the kernels run on one thread: %s has no OpenMP", shlex.join(compiler))
        else:
            if folder.parent == kept.parent:
                built.replace(kept)  # whoever looks sees all of it or nothing
        return library


@contextmanager
def _work_folder(cache: Path) -> Iterator[Path]:
    """In the cache; elsewhere if that is read-only, and then nothing is kept."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=cache)
    except OSError:
        folder = tempfile.TemporaryDirectory(prefix="motet-")
    with folder as path:
        yield Path(path)


def _build(compiler: list[str], folder: Path, progress: Progress) -> Path:
    sources = sorted(SOURCES.glob("*.cpp"))
    objects = [folder / f"{source.stem}.o" for source in sources]
    progress(0, len(sources))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(_run, [*compiler, *FLAGS, "-c", str(source), "-o", str(target)])
            for source, target in zip(sources, objects, strict=True)
        ]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            progress(done, len(sources))
    library = folder / "kernels.so"
    # Linked without OpenMP: its symbols are found in the runtime that torch has loaded, so that
    # both share one pool of threads. Two pools would wait for each other's cores.
    linker = [word for word in compiler if word != PARALLEL]
    _run([*linker, "-shared", *map(str, objects), "-o", str(library)])
    return library


def _open(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NotCompiled(f"the library does not load: {error}") from error


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiled(f"{command[0]} did not run: {error}") from error
    if result.returncode:
        complaint = next((line for line in result.stderr.splitlines() if "error" in line), "")
        raise NotCompiled(f"{command[0]} failed: {complaint or result.stderr[-200:]!r}")
