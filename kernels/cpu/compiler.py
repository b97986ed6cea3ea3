"""Compiles the C++ of this folder for this very processor, once: the result is kept in a cache."""

import hashlib
import os
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

Progress = Callable[[int, int], None]
"""Called with how many files are compiled, and of how many."""


class NotCompiled(Exception):
    """There is no library; the message says why, in one line."""


@contextmanager
def compiled(progress: Progress) -> Iterator[Path]:
    """The library, to be loaded inside: where no cache can be written it is gone afterwards.

    Reports progress only when something has to be compiled. Raises NotCompiled.
    """
    compiler = _find_compiler()
    name = f"kernels-{_key(compiler)}.so"
    cache = _cache_folder()
    library = cache / name
    if library.is_file():
        yield library
        return
    is_kept = True
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=cache)
    except OSError:  # a home that is read-only or missing
        is_kept = False
        folder = tempfile.TemporaryDirectory(prefix="motet-")
    with folder as temporary:
        built = _build(compiler, Path(temporary), progress)
        if is_kept:
            built = built.replace(library)  # whoever looks sees all of it or nothing
        yield built


def _find_compiler() -> str:
    """CXX if it is set, else the first that is installed."""
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else COMPILERS:
        if path := shutil.which(name):
            return path
    raise NotCompiled(f"no C++ compiler is installed ({wanted or ', '.join(COMPILERS)})")


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "motet"


def _key(compiler: str) -> str:
    """Differs for other sources, compilers and processors: a home may be shared by machines."""
    macros = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])
    sha = hashlib.sha256(repr((FLAGS, PARALLEL)).encode() + macros.encode())
    for source in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]):
        sha.update(source.name.encode() + source.read_bytes())
    return sha.hexdigest()[:16]


def _build(compiler: str, folder: Path, progress: Progress) -> Path:
    flags = [*FLAGS, *([PARALLEL] if _has_openmp(compiler, folder) else [])]
    sources = sorted(SOURCES.glob("*.cpp"))
    objects = [folder / f"{source.stem}.o" for source in sources]
    progress(0, len(sources))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(_run, [compiler, *flags, "-c", str(source), "-o", str(target)])
            for source, target in zip(sources, objects, strict=True)
        ]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            progress(done, len(sources))
    library = folder / "kernels.so"
    # Linked without OpenMP: its symbols are found in the runtime that torch has loaded, so that
    # both share one pool of threads. Two pools would wait for each other's cores.
    _run([compiler, "-shared", *map(str, objects), "-o", str(library)])
    return library


def _has_openmp(compiler: str, folder: Path) -> bool:
    probe = folder / "probe.cpp"
    probe.write_text("#include <omp.h>\n")
    try:
        _run([compiler, PARALLEL, "-fsyntax-only", str(probe)])
    except NotCompiled:
        return False
    return True


def _run(command: list[str]) -> str:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiled(f"{command[0]} did not run: {error}") from error
    if result.returncode:
        complaint = next((line for line in result.stderr.splitlines() if "error" in line), "")
        raise NotCompiled(f"{command[0]} failed: {complaint or result.stderr[-200:]!r}")
    return result.stdout
