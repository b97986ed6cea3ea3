"""The lowest versions that pyproject.toml allows serve as the ones motet is developed with."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = ("transformers", "tokenizers", "sentencepiece", "peft")
"""Which decide what tokens and adapters are."""

TESTS = (
    "tests/test_pretrained.py",
    "tests/test_tokenizer_config.py",
    "tests/models/test_spec.py",
    "tests/models/test_spec_context.py",
    "tests/models/test_spec_files.py",
    "tests/models/test_spec_refusals.py",
    "tests/models/test_adapters.py",
    "tests/server/test_text.py",
    "tests/server/test_template.py",
    "tests/server/test_template_files.py",
    "tests/server/test_template_limits.py",
)


def lowest_versions() -> dict[str, str]:
    """Library -> the version that its lower bound names."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [*content["project"]["dependencies"], *content["dependency-groups"]["dev"]]
    bounds = [re.match(r"([a-z-]+)>=([0-9.]+),<", bound) for bound in groups]
    found = {bound[1]: bound[2] for bound in bounds if bound}
    return {name: found[name] for name in LIBRARIES}


def test_every_library_that_decides_tokens_has_both_bounds() -> None:
    assert lowest_versions().keys() == set(LIBRARIES)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_lowest_versions_pass_the_tests_of_tokens_and_adapters(tmp_path: Path) -> None:
    """In an environment of its own; what else it needs comes from the one of the tests."""
    run(sys.executable, "-m", "venv", str(tmp_path))
    python = str(tmp_path / "bin/python")
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    wanted = [f"{name}=={version}" for name, version in lowest_versions().items()]
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", *wanted)
    others = [path for path in sys.path if path.endswith("site-packages")]
    Path(site, "others.pth").write_text("\n".join(others))
    frozen = run(python, "-m", "pip", "freeze", "--path", site).split()
    assert {line.partition("==")[0] for line in frozen} >= set(LIBRARIES)
    run(python, "-m", "pytest", "-q", *TESTS)


def run(*command: str) -> str:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
    return result.stdout
