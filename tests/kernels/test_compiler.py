"""The library of the native kernels is compiled once, for this processor, or says why not."""

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from motet.kernels.cpu import compiler
from motet.kernels.cpu.compiler import NotCompiled, load_library

SOURCE = """
#include <cstdint>
extern "C" void motet_count_threads(int64_t* count) {
    *count = 0;
#pragma omp parallel
#pragma omp atomic
    ++*count;
}
"""
PROCESSORS = ("x86-64", "x86-64-v3", "sapphirerapids")


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small source, and a cache and temporary files of its own."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "threads.cpp").write_text(SOURCE)
    monkeypatch.setattr(compiler, "SOURCES", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def compile_once() -> tuple[ctypes.CDLL, list[tuple[int, int]]]:
    """The library, and the progress that was reported."""
    reports: list[tuple[int, int]] = []
    library = load_library(lambda done, total: reports.append((done, total)))
    return library, reports


def kept(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "cache" / "motet"
    return list(folder.iterdir()) if folder.exists() else []


def a_compiler(folder: Path, script: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_what_is_compiled_once_is_kept_and_nothing_else(tmp_path: Path) -> None:
    _, progress = compile_once()
    _, no_progress = compile_once()

    assert progress == [(0, 1), (1, 1)]
    assert no_progress == []
    assert [path.suffix for path in kept(tmp_path)] == [".so"]


def test_what_is_kept_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_once()

    monkeypatch.setenv("CXX", "no-such-compiler")

    assert compile_once()[1] == []


@pytest.mark.parametrize("change", ["source", "flags", "processor"])
def test_what_changes_is_compiled_again(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    compile_once()

    if change == "source":
        (sources / "threads.cpp").write_text(SOURCE + "\n// changed\n")
    elif change == "flags":
        monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-DOTHER"))
    else:
        (tmp_path / "cpuinfo").write_text("flags : sse2\n")
        monkeypatch.setattr(compiler, "CPUINFO", tmp_path / "cpuinfo")

    assert compile_once()[1]
    assert len(kept(tmp_path)) == 2


def test_a_damaged_library_is_compiled_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compile_once()
    [library] = kept(tmp_path)
    library.unlink()  # this process has it open
    library.write_bytes(b"")

    assert compile_once()[1]
    assert "compiling the kernels again" in caplog.text


@pytest.mark.parametrize("obstacle", ["a file", "read-only"])
def test_where_no_cache_can_be_written_it_is_compiled_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    home = tmp_path / "home"
    home.write_text("") if obstacle == "a file" else home.mkdir(mode=0o500)
    if obstacle == "read-only" and os.access(home, os.W_OK):
        pytest.skip("this user may write everywhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))

    assert compile_once()[1]
    assert compile_once()[1]


def test_where_nothing_can_be_written_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with pytest.raises(NotCompiled, match=r"kernels cannot be compiled: .*nowhere"):
        compile_once()


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

    assert kept(tmp_path) == []


def test_the_second_compiler_is_tried_where_the_first_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    failing = a_compiler(tmp_path, "echo 'error: too old' >&2; exit 1")
    monkeypatch.setattr(compiler, "COMPILERS", (failing, "g++"))

    assert compile_once()[1]


@pytest.mark.parametrize(
    ("script", "num_threads"),
    [
        ('exec g++ "$@"', 2),
        ('case "$*" in *-fopenmp*) echo error >&2; exit 1;; esac; exec g++ "$@"', 1),
    ],
    ids=["with OpenMP", "without"],
)
def test_without_openmp_the_kernels_run_on_one_thread_and_are_not_kept(
    two_threads: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str,
    num_threads: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("CXX", a_compiler(tmp_path, script))
    count = ctypes.c_int64()

    compile_once()[0].motet_count_threads(ctypes.byref(count))

    assert count.value == num_threads
    assert len(kept(tmp_path)) == num_threads - 1


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
