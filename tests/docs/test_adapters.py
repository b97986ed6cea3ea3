"""docs/adapters.md has a row for everything that PEFT can write, and a test for every row."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from peft import LoraConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from motet.memory.device.peft import DTYPES, REFUSED_TENSORS, UNUSED_TENSORS
from motet.memory.device.peft_fields import (
    CHANGES_BASE,
    HARMLESS_INITS,
    IGNORED,
    MERGE,
    REFUSED,
    RETRAIN,
    UNDERSTOOD,
)
from motet.memory.device.peft_names import WRAPPERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text()

SECTION = re.compile(r"^## (?P<title>.+)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)
ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<motet>.+?) \| (?P<shown>.+?) \|$", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing PEFT writes."""

    what: str
    motet: str
    shown: str

    @property
    def names(self) -> list[str]:
        return NAME.findall(self.what)


def rows(title: str) -> list[Row]:
    """Of the table in a section, without its head."""
    [text] = [found["text"] for found in SECTION.finditer(PAGE) if found["title"] == title]
    return [Row(*found.groups()) for found in ROW.finditer(text)][1:]


def all_rows() -> Iterator[Row]:
    for found in SECTION.finditer(PAGE):
        yield from rows(found["title"])


def names(title: str) -> list[str]:
    return [name for row in rows(title) for name in row.names]


def test_every_field_of_a_lora_config_has_one_row() -> None:
    assert sorted(names("Fields of adapter_config.json")) == sorted(
        field.name for field in fields(LoraConfig)
    )


def test_every_field_is_told_as_it_is_read() -> None:
    told = {row.names[0]: row.motet for row in rows("Fields of adapter_config.json")}
    assert {name for name, text in told.items() if text.startswith("refused")} == REFUSED.keys()
    assert told.keys() == REFUSED.keys() | UNDERSTOOD | IGNORED
    for name, reason in REFUSED.items():
        remedy = {MERGE: "merge", RETRAIN: "train without it"}[reason.rpartition("; ")[2]]
        assert told[name] == f"refused: {remedy}"


def test_every_start_has_one_row() -> None:
    hint = get_type_hints(LoraConfig)["init_lora_weights"]
    literals = [value for part in get_args(hint) for value in get_args(part)]
    documented = names("Values of init_lora_weights")
    assert {"true", "false", *literals} <= {*documented}
    served = {row.names[0] for row in rows("Values of init_lora_weights") if row.names
              and row.motet.startswith("served")}  # fmt: skip
    assert served == {str(init).lower() for init in HARMLESS_INITS if init is not None}
    refused = {*documented} - served
    assert {
        start for start in CHANGES_BASE if not any(n.startswith(start) for n in refused)
    } == set()


def test_every_method_has_one_row() -> None:
    methods = sorted(PeftType)
    assert sorted(names("Methods (peft_type)")) == [method.value for method in methods]
    assert PEFT_TYPE_TO_CONFIG_MAPPING.keys() <= {*methods}


def test_every_wrapper_format_and_special_tensor_has_a_row() -> None:
    assert {*names("Wrappers in names")} == WRAPPERS
    dtypes = {str(dtype).removeprefix("torch.") for dtype in DTYPES}
    assert {*names("Number formats")} == dtypes
    tensors = " ".join(names("Tensors"))
    assert [part for part in (*REFUSED_TENSORS, *UNUSED_TENSORS) if part not in tensors] == []


@pytest.mark.parametrize("row", list(all_rows()), ids=lambda row: row.what)
def test_the_test_of_every_row_exists(row: Row) -> None:
    shown = NAME.findall(row.shown)
    assert shown
    for test in shown:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text()
