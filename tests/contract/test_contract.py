"""The table of the contract is complete, and what it leaves out is refused by name."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.contract_rows import ABSENT, ROWS, Absent
from tests.contract.contract_server import Api, error_in, make_models, serving

_TEST = re.compile(r"^(?:async )?def test_(\d+)_(\d+)_(\d+)_", re.MULTILINE)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(make_models(tmp_path_factory.mktemp("absent"))) as api:
        yield api


def rows_with_tests() -> set[str]:
    """Those that a test here is named after."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_contract_*.py")]
    return {".".join(numbers) for text in texts for numbers in _TEST.findall(text)}


def test_every_row_has_a_test_or_is_refused_by_name() -> None:
    assert rows_with_tests() | ABSENT.keys() == ROWS.keys()


def test_no_row_is_missing_in_between() -> None:
    last: dict[str, int] = {}
    for row in ROWS:
        section, _, number = row.rpartition(".")
        assert int(number) == last.get(section, 0) + 1
        last[section] = int(number)
    assert list(last) == [f"2.{section}" for section in range(1, 9)]


@pytest.mark.parametrize(
    "absent",
    [pytest.param(one, id=f"{row} {one.path}") for row, some in ABSENT.items() for one in some],
)
def test_what_this_version_leaves_out_is_refused_by_name(api: Api, absent: Absent) -> None:
    answer = api.http.request(absent.method, absent.path, json=absent.body)
    if absent.param is None:
        assert error_in(answer, 404)["code"] == "unknown_url"
    else:
        error = error_in(answer, 400)
        assert (error["code"], error["param"]) == ("unsupported_parameter", absent.param)
