"""Files and directories that are no model: named for what they are."""

import json
import os
from pathlib import Path

import pytest

from motet.engine.models import read_config
from tests.model_factory import make_llama
from tests.models.spec_directory import assert_refused


def test_adapter_given_as_the_model_names_its_base(tmp_path: Path) -> None:
    fields = {"peft_type": "LORA", "base_model_name_or_path": "org/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    assert_refused(tmp_path, f"is an adapter, not a model: .* org/base --adapter .*={tmp_path}")
    (tmp_path / "adapter_config.json").write_text("{}")
    assert_refused(tmp_path, "is an adapter, not a model: .* BASE_MODEL --adapter")


@pytest.mark.parametrize("inner", ["checkpoint-500", "snapshots/0123"])
def test_directory_around_a_model_names_it(tmp_path: Path, inner: str) -> None:
    make_llama(tmp_path / inner)
    assert_refused(tmp_path, f"config.json is missing: did you mean '{tmp_path / inner}'")


def test_directory_around_adapters_names_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "checkpoint-500" / "adapter_config.json").write_text("{}")
    assert_refused(tmp_path, "checkpoint-500' is an adapter, not a model: .* --adapter checkpoint")


def test_adapter_beside_a_whole_model_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (make_llama(tmp_path) / "adapter_config.json").write_text("{}")
    read_config(str(tmp_path))
    [line] = caplog.messages
    assert f"add --adapter NAME={tmp_path}" in line


REFUSED_FILES = {
    "empty config": ("config.json", b"", "config.json is not valid JSON.*copy it again"),
    "corrupt config": ("config.json", b'{"a": ', "config.json is not valid JSON"),
    "binary config": ("config.json", b"\xff\x00\xfe", "config.json is not valid JSON"),
    "config that is a list": ("config.json", b"[]", r"config.json is \[\], not an object"),
    "deep config": ("config.json", b"[" * 100_000, "config.json is not valid JSON.*recursion"),
    "endless config": ("config.json", b" " * 17_000_000, "config.json is larger than"),
    "corrupt generation config": (
        "generation_config.json",
        b"{",
        "generation_config.json is not v",
    ),
    "end that is text": (
        "generation_config.json",
        b'{"eos_token_id": ["</s>"]}',
        r"eos_token_id is \['</s>'\]",
    ),
    "corrupt tokenizer": (
        "tokenizer.json",
        b"{",
        "the tokenizer cannot be loaded .*: download its files again, or remove tokenizer.json",
    ),
    "tokenizer without tokens": (
        "tokenizer.json",
        b'{"added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}',
        r"the tokenizer cannot be loaded \(it has no tokens\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    name, content, message = REFUSED_FILES[case]
    (make_llama(tmp_path) / name).write_bytes(content)
    assert_refused(tmp_path, message)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_pipe_or_device_is_not_read(tmp_path: Path, name: str) -> None:
    path = make_llama(tmp_path) / name
    path.unlink()
    path.symlink_to("/dev/zero")
    assert_refused(tmp_path, f"{name} is no regular file")
    path.unlink()
    os.mkfifo(path)
    assert_refused(tmp_path, f"{name} is no regular file")


def test_pipe_in_place_of_the_tokenizer_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(make_llama(tmp_path) / "tokenizer.json")
    assert_refused(tmp_path, r"the tokenizer cannot be loaded \(tokenizer.json is no regular file")


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "nowhere' does not exist: give a Hugging Face model dir")


def test_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    assert_refused(make_llama(tmp_path) / "config.json", "is a file: give a Hugging Face model dir")


def test_directory_without_config_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "config.json is missing: give a Hugging Face model directory")
