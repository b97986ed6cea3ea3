"""`.ci/setup`, which makes .venv: with a Python that only writes down what it is told to do."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[1] / ".ci/setup"

PYTHON = """\
#!/bin/sh
case "$*" in
"-c import sys"*) exit ${TOO_OLD:-0} ;;
"-c import ensurepip"*) exit ${NO_VENV:-0} ;;
"--version") echo Python 3.11.9 ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >>did ;;
"-m pip config list") echo "$PIP_CONFIG" ;;
"-m pip install "*) echo "$*" >>did; exit ${NO_NETWORK:-0} ;;
esac
"""


class Checkout:
    """A folder to set up in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.venv = directory / ".venv"
        self._did = directory / "did"

    def setup(self, what: str = "serve", **environment: str) -> tuple[str, list[str]]:
        """What it says, and what Python was told to do."""
        result = self.try_setup(what, **environment)
        assert result.returncode == 0, result.stderr
        did = self._did.read_text().splitlines() if self._did.exists() else []
        self._did.unlink(missing_ok=True)
        return result.stdout + result.stderr, did

    def try_setup(self, what: str, **environment: str) -> subprocess.CompletedProcess[str]:
        python = str(self.directory / "python")
        return subprocess.run(
            [self.directory / ".ci/setup", what],
            env={"PATH": os.environ["PATH"], "PYTHON": python, "PIP_CONFIG": "", **environment},
            capture_output=True,
            text=True,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    directory = tmp_path / "checkout"
    (directory / ".ci").mkdir(parents=True)
    shutil.copy(SETUP, directory / ".ci")
    for name in ("pyproject.toml", "constraints.txt"):
        (directory / name).touch()
        os.utime(directory / name, (0, 0))  # before any stamp
    (directory / "python").write_text(PYTHON)
    (directory / "python").chmod(0o755)
    return Checkout(directory)


def test_serving_needs_torch_and_motet_and_no_tools(checkout: Checkout) -> None:
    said, did = checkout.setup("serve")
    assert "making .venv with Python 3.11.9" in said
    assert [line.split()[-1] for line in did] == ["venv", "torch", "."]
    assert not any("--group" in line for line in did)


def test_developing_needs_serving_tools_and_clients(checkout: Checkout) -> None:
    _, did = checkout.setup("develop")
    assert [line.split()[-1] for line in did] == [
        *("venv", "torch", ".", "pip>=25.1", "dev", "clients")
    ]


@pytest.mark.parametrize("what", ["serve", "develop"])
def test_what_is_finished_is_left_alone(what: str, checkout: Checkout) -> None:
    checkout.setup(what)
    assert checkout.setup(what) == ("", [])


def test_new_requirements_are_installed_into_what_there_is(checkout: Checkout) -> None:
    checkout.setup("develop")
    os.utime(checkout.directory / "pyproject.toml", (2**33, 2**33))
    _, did = checkout.setup("develop")
    assert [line.split()[-1] for line in did] == ["torch", ".", "pip>=25.1", "dev", "clients"]


def remove_the_interpreter(checkout: Checkout) -> None:
    """Like the others below: break a .venv that was finished."""
    python = checkout.venv / "bin/python"
    python.unlink()
    python.symlink_to("/no/such/python3.11")


def remove_pip(checkout: Checkout) -> None:
    (checkout.venv / "bin/python").write_text("#!/bin/sh\nexit 1\n")


def interrupt(checkout: Checkout) -> None:
    (checkout.venv / "serves").unlink()


def interrupt_at_the_start(checkout: Checkout) -> None:
    shutil.rmtree(checkout.venv / "bin")
    (checkout.venv / "serves").unlink()


def come_from_elsewhere(checkout: Checkout) -> None:
    (checkout.venv / "serves").write_text("/another/folder\n")


@pytest.mark.parametrize(
    "damage",
    [remove_the_interpreter, remove_pip, interrupt, interrupt_at_the_start, come_from_elsewhere],
)
def test_what_is_broken_is_made_anew(
    damage: Callable[[Checkout], None], checkout: Checkout
) -> None:
    checkout.setup()
    (checkout.venv / "left over").touch()
    damage(checkout)
    _, did = checkout.setup()
    assert did[0] == "venv"
    assert not (checkout.venv / "left over").exists()
    assert checkout.setup() == ("", [])


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"TOO_OLD": "1"}, ["/python is not Python 3.11 or later", "make PYTHON="]),
        ({"PYTHON": "/no/such"}, ["/no/such is not Python 3.11 or later", "make PYTHON="]),
        ({"NO_VENV": "1"}, ["venv module", "apt install python3-venv"]),
        ({"NO_NETWORK": "1"}, ["pip could not install", "PIP_INDEX_URL", "again"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("what", ["serve", "develop"])
def test_what_is_missing_is_one_line_with_the_remedy(
    what: str, trouble: dict[str, str], words: list[str], checkout: Checkout
) -> None:
    ended = checkout.try_setup(what, **trouble)
    assert ended.returncode == 1
    assert ended.stderr.startswith("setup: error: ")
    assert ended.stderr.count("\n") == 1
    for word in words:
        assert word in ended.stderr


def test_the_interpreter_may_lie_in_a_folder_with_a_space(checkout: Checkout) -> None:
    folder = checkout.directory / "my python"
    folder.mkdir()
    shutil.copy(checkout.directory / "python", folder)
    _, did = checkout.setup("serve", PYTHON=str(folder / "python"))
    assert did[0].endswith("venv")


def test_another_version_of_python_gets_a_venv_of_its_own(checkout: Checkout) -> None:
    checkout.setup("serve")
    newer = checkout.directory / "newer"
    newer.write_text(PYTHON.replace("3.11.9", "3.12.1"))
    newer.chmod(0o755)
    said, did = checkout.setup("serve", PYTHON=str(newer))
    assert "replacing .venv with Python 3.12.1" in said
    assert did[0].endswith("venv")


def test_after_trouble_the_same_command_begins_anew(checkout: Checkout) -> None:
    checkout.try_setup("serve", NO_NETWORK="1")
    _, did = checkout.setup("serve")
    assert [line.split()[-1] for line in did][-3:] == ["venv", "torch", "."]


@pytest.mark.parametrize("setting", ["global.index-url='x'", ":env:.find-links='/wheels'"])
def test_who_says_where_packages_come_from_is_not_sent_elsewhere(
    setting: str, checkout: Checkout
) -> None:
    _, did = checkout.setup(PIP_CONFIG=setting)
    assert not any("index-url" in line for line in did)


def test_without_a_gpu_torch_comes_without_cuda(checkout: Checkout) -> None:
    has_gpu = any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
    _, did = checkout.setup()
    [torch] = [line for line in did if line.endswith("torch")]
    assert ("--extra-index-url https://download.pytorch.org/whl/cpu" in torch) is not has_gpu
