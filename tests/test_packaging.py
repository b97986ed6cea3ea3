"""One source tree that works as a checkout, an editable install and a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "client", "engine", "kernels", "memory", "server")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built with the installed setuptools and unpacked.

    Built from a copy, since building leaves files behind that a later wheel would take up.
    """
    built = tmp_path_factory.mktemp("wheel")
    copy = built / "tree"
    for name in ("motet", *FOLDERS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(built), str(copy))
    [archive] = built.glob("*.whl")
    with zipfile.ZipFile(archive) as content:
        content.extractall(built / "site")
    return built / "site"


def run(*command: str, **environment: str) -> str:
    result = subprocess.run(
        command, cwd="/", env={**os.environ, **environment}, capture_output=True, text=True
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
    assert expected <= {file.relative_to(wheel) for file in wheel.rglob("*")}


def test_the_wheel_is_importable_and_brings_the_command(wheel: Path) -> None:
    where = run(
        sys.executable,
        "-c",
        "import motet.cli, motet.engine.config; print(motet.engine.config.__file__)",
        PYTHONPATH=str(wheel),
    )
    assert Path(where.strip()).is_relative_to(wheel)
    [entry_points] = wheel.glob("motet-*.dist-info/entry_points.txt")
    assert "motet = motet.cli:main" in entry_points.read_text()
