"""One source tree that works as a checkout, an editable install, a wheel and an sdist."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import motet
from motet import demo
from motet.kernels.cpu import compiler
from motet.server.http.banner import QUESTION
from tests.cli.process import Server

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "client", "engine", "kernels", "memory", "server")
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")
BUILD = "import setuptools.build_meta as build, sys; build.{}(sys.argv[1])"
MAX_DEMO_BYTES = 12_000_000
MAX_CODE_BYTES = 1_000_000

NO_NETWORK = '''\
"""Refuses, aloud, every connection that leaves this machine."""

import socket
import sys

_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def _check(host):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        print("connection to", host, file=sys.stderr)
        raise OSError(f"no way to {host}")


def connect(self, address):
    if self.family != socket.AF_UNIX:
        _check(address[0])
    return _connect(self, address)


def getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = connect
socket.getaddrinfo = getaddrinfo
'''


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this tree, since building leaves files behind that a later wheel would take up."""
    copy = tmp_path_factory.mktemp("sources") / "tree"
    for name in ("motet", *FOLDERS):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def archive(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built with the installed setuptools."""
    return built("build_wheel", sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel(archive: Path) -> Path:
    """The wheel, unpacked."""
    site = archive.parent / "site"
    with zipfile.ZipFile(archive) as content:
        content.extractall(site)
    return site


def built(what: str, sources: Path, where: Path) -> Path:
    where.mkdir(exist_ok=True)
    run(sys.executable, "-c", BUILD.format(what), str(where), directory=sources)
    [archive] = where.glob("motet-*")
    return archive


def run(*command: str, directory: Path | str = "/", **environment: str) -> str:
    result = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_package_links_to_each_folder(folder: str) -> None:
    link = ROOT / "motet" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    expected = {
        Path("motet") / file.relative_to(ROOT)
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
    }
    expected |= {file.relative_to(ROOT) for file in (ROOT / "motet").rglob("*.py")}
    expected |= {Path("motet/cli.py"), Path("motet/commands/chat.py"), Path("motet/py.typed")}
    expected |= {
        Path("motet") / file.relative_to(demo.MODEL.parents[1])
        for folder in (demo.MODEL, demo.MODEL.with_name("voices"))
        for file in folder.rglob("*.*")
    }
    assert expected <= {file.relative_to(wheel) for file in wheel.rglob("*")}


def test_the_wheel_is_small(archive: Path, wheel: Path) -> None:
    demo_bytes = sum(file.stat().st_size for file in (wheel / "motet/demo").rglob("*.*"))
    assert demo_bytes <= MAX_DEMO_BYTES
    assert archive.stat().st_size <= MAX_DEMO_BYTES + MAX_CODE_BYTES


def test_the_sdist_makes_the_same_wheel(sources: Path, archive: Path, tmp_path: Path) -> None:
    sdist = built("build_sdist", sources, tmp_path)
    run("tar", "xf", str(sdist), directory=tmp_path)
    [tree] = (path for path in tmp_path.iterdir() if path.is_dir())
    again = built("build_wheel", tree, tmp_path / "wheel")
    assert contents(again) == contents(archive)


def contents(archive: Path) -> dict[str, int]:
    """Names and checksums, without the list of both."""
    with zipfile.ZipFile(archive) as wheel:
        return {
            item.filename: item.CRC for item in wheel.infolist() if "RECORD" not in item.filename
        }


def test_the_wheel_has_the_sources_of_the_native_kernels(wheel: Path) -> None:
    sources = {path.name for path in compiler.SOURCES.iterdir() if path.suffix in (".cpp", ".h")}
    assert sources <= {path.name for path in (wheel / "motet/kernels/cpu").iterdir()}


NO_COMPILER = (
    "serving with the slower kernels in torch: no C++ compiler is installed (g++, c++, clang++)\n"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """The wheel in an environment of its own, on a machine that has little else."""

    directory: Path

    @property
    def motet(self) -> Path:
        return self.directory / "bin/motet"

    @property
    def environment(self) -> dict[str, str]:
        """No home, no compiler, nothing that says how to find the checkout.

        One thread: more would wait for each other where others use the cores.
        """
        return {"HOME": "/dev/null", "PATH": str(self.directory / "bin"), "OMP_NUM_THREADS": "1"}

    def run(self, *arguments: str) -> str:
        result = subprocess.run(
            [self.motet, *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout


@pytest.fixture(scope="module")
def installation(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Other packages come from the environment of the tests; motet comes from the wheel alone."""
    directory = tmp_path_factory.mktemp("installation")
    run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    python = str(directory / "bin/python")
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, str(archive))
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    others = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site / "no_network.py").write_text(NO_NETWORK)
    (site / "tests.pth").write_text("\n".join(["import no_network", *others]))
    return Installation(directory)


def test_the_installed_wheel_has_the_command(installation: Installation) -> None:
    assert installation.run("--version") == f"motet {motet.__version__}\n"


def test_the_installed_wheel_plans_its_own_model(installation: Installation) -> None:
    plan = json.loads(installation.run("plan", "--pool-bytes", "64MiB", "--json"))
    assert Path(plan["model"]).is_relative_to(installation.directory)
    assert [adapter["name"] for adapter in plan["adapters"]] == list(demo.VOICE_NAMES)


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    """`motet serve`, and nothing else on the command line: it may not connect, and warns once."""
    server = Server(
        motet=installation.motet,
        environment=installation.environment,
        directory=installation.directory,
    )
    server.wait_for("/ready")
    yield server
    assert server.stop(signal.SIGTERM) == (0, NO_COMPILER)


@pytest.mark.parametrize("model", ["town", *demo.VOICE_NAMES])
def test_the_installed_wheel_answers_in_every_voice_whole_and_streamed(
    model: str, server: Server
) -> None:
    wish: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 32,
    }
    url = f"{server.url}/v1/chat/completions"
    answer = httpx.post(url, json=wish, timeout=60).json()
    whole = answer["choices"][0]["message"]["content"]
    streamed = httpx.post(url, json={**wish, "stream": True}, timeout=60).text.split("\n\n")
    *events, done, rest = [event.removeprefix("data: ") for event in streamed]
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    assert whole
    assert "".join(delta.get("content") or "" for delta in deltas) == whole
    assert (done, rest) == ("[DONE]", "")
