"""The library of the native kernels is compiled once, for this processor, or says why not."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest
import torch

from motet.kernels.cpu import compiler
from motet.kernels.cpu.compiler import NotCompiled, compiled

SOURCE = """
#include <cstdint>
extern "C" void motet_count_threads(int64_t* count) {
    *count = 0;
#pragma omp parallel
#pragma omp atomic
    ++*count;
}
"""
PROCESSORS = ("x86-64", "x86-64-v3", "x86-64-v4", "sapphirerapids", "znver3")


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small source, and a cache and temporary files of its own."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "threads.cpp").write_text(SOURCE)
    monkeypatch.setattr(compiler, "SOURCES", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def compile_once() -> tuple[str, list[tuple[int, int]]]:
    """The name of the library, and the progress that was reported."""
    reports: list[tuple[int, int]] = []
    with compiled(lambda done, total: reports.append((done, total))) as path:
        ctypes.CDLL(str(path))
    return path.name, reports


def a_compiler(folder: Path, script: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_what_is_compiled_once_is_kept() -> None:
    first, progress = compile_once()
    again, no_progress = compile_once()

    assert first == again
    assert progress == [(0, 1), (1, 1)]
    assert no_progress == []


def test_a_changed_source_is_compiled_again(sources: Path) -> None:
    before, _ = compile_once()

    (sources / "threads.cpp").write_text(SOURCE + "\n// changed\n")
    after, progress = compile_once()

    assert after != before
    assert progress


def test_other_flags_make_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = compile_once()

    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-DOTHER"))

    assert compile_once()[0] != before


def test_nothing_but_the_library_stays_in_the_cache(tmp_path: Path) -> None:
    name, _ = compile_once()

    assert [path.name for path in (tmp_path / "cache" / "motet").iterdir()] == [name]


@pytest.mark.parametrize("obstacle", ["a file", "read-only"])
def test_where_no_cache_can_be_written_it_is_compiled_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    home = tmp_path / "home"
    home.write_text("") if obstacle == "a file" else home.mkdir(mode=0o500)
    if obstacle == "read-only" and os.access(home, os.W_OK):
        pytest.skip("this user may write everywhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))

    with compiled(lambda done, total: None) as path:
        assert path.is_file()

    assert not path.exists()


def test_without_a_compiler_the_error_names_those_that_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotCompiled, match=r"no C\+\+ compiler is installed \(g\+\+, c\+\+"):
        compile_once()


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", a_compiler(tmp_path, "echo 'error: no memory' >&2; exit 1"))

    with pytest.raises(NotCompiled, match="error: no memory"):
        compile_once()


def test_a_source_that_does_not_compile_is_an_error_and_leaves_nothing(
    sources: Path, tmp_path: Path
) -> None:
    (sources / "threads.cpp").write_text("not C++")

    with pytest.raises(NotCompiled, match="error"):
        compile_once()

    assert list((tmp_path / "cache" / "motet").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "is_threaded"),
    [
        ('exec g++ "$@"', True),
        ('case "$*" in *-fopenmp*) echo error >&2; exit 1;; esac; exec g++ "$@"', False),
    ],
    ids=["with OpenMP", "without"],
)
def test_without_openmp_the_kernels_run_on_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, is_threaded: bool
) -> None:
    monkeypatch.setenv("CXX", a_compiler(tmp_path, script))
    count = ctypes.c_int64()

    with compiled(lambda done, total: None) as path:
        ctypes.CDLL(str(path)).motet_count_threads(ctypes.byref(count))

    assert count.value == (torch.get_num_threads() if is_threaded else 1)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    "source", sorted(compiler.SOURCES.glob("*.cpp")), ids=lambda source: source.stem
)
def test_every_source_compiles_without_a_warning_for_every_processor(
    tmp_path: Path, processor: str, source: Path
) -> None:
    flags = [flag for flag in compiler.FLAGS if not flag.startswith("-march")]
    warnings = ["-Wall", "-Wextra", "-Werror", compiler.PARALLEL]
    target = ["-c", str(source), "-o", str(tmp_path / "object.o")]

    subprocess.run(["g++", f"-march={processor}", *flags, *warnings, *target], check=True)
