"""`motet adapters check`: what a server would accept."""

import json
import shutil
from pathlib import Path

import peft
import pytest

from motet.engine.config import EngineConfig, PoolConfig
from motet.engine.start.build import build
from tests.cli.commands import Commands
from tests.trained_adapter import base_model, save, train, wrapped


def test_a_good_adapter_is_described_as_a_start_would(
    model_dir: Path, adapter_dir: Path, motet: Commands
) -> None:
    ended = motet.run("adapters", "check", adapter_dir, "--model", model_dir)
    assert (ended.code, ended.err) == (0, "")
    pool = PoolConfig(pool_bytes=1024**2)
    config = EngineConfig(str(model_dir), (("a", str(adapter_dir)),), pool=pool)
    [adapter] = build(config, lambda stage, done, total: None).info.adapters
    assert adapter.digest is not None
    assert ended.out == (
        f"ok      adapter '{adapter_dir}': rank 3, 14 modules, {adapter.num_pages} pages, "
        f"digest {adapter.digest[:12]}\n"
        f"        trained for {model_dir} with PEFT {peft.__version__}: init default; "
        "stored as float32\n"
    )


def test_what_is_skipped_and_what_may_be_wrong_has_a_line_each(
    model_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    model = wrapped(base_model(model_dir), use_rslora=True, init_lora_weights="gaussian")
    save(train(model), tmp_path, save_embedding_layers=True)
    edit_config(tmp_path, base_model_name_or_path="org/other", some_new_field=1)
    ended = motet.run("adapters", "check", tmp_path, "--model", model_dir)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1:] == [
        f"        trained for org/other with PEFT {peft.__version__}: init gaussian, "
        "rank-stabilised; stored as float32",
        "        skipped, as they change nothing: base_model.model.lm_head.weight, "
        "base_model.model.model.embed_tokens.weight",
        f"        the model it was trained for has another name than '{model_dir}'",
        "        its field 'some_new_field' is unknown and has no effect",
    ]
    planned = motet.run("plan", model_dir, "--adapter", f"a={tmp_path}", "--pool-bytes", "1MiB").out
    assert "skipped, if a start finds them equal: base_model.model.lm_head.weight" in planned
    assert "'some_new_field' is unknown" in planned


def test_what_a_file_says_stays_within_its_line(
    model_dir: Path, adapter_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    adapter = shutil.copytree(adapter_dir, tmp_path / "a")
    edit_config(adapter, base_model_name_or_path="x\nok      adapter 'fake'\ud800\x1b[2J")
    ended = motet.run("adapters", "check", adapter, "--model", model_dir)
    assert ended.code == 0
    assert [line.partition(" ")[0] for line in ended.out.splitlines()] == ["ok", "", ""]
    assert r"x\nok      adapter 'fake'\ud800\x1b[2J" in ended.out


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("org/tiny", True), ("TINY/", True), ("org/tiny-chat", False), ("/elsewhere/models/x", False)],
)
def test_a_name_of_the_base_is_known_by_its_last_part(
    name: str, is_known: bool, model_dir: Path, adapter_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    adapter = shutil.copytree(adapter_dir, tmp_path / "a")
    edit_config(adapter, base_model_name_or_path=name)
    out = motet.run("adapters", "check", adapter, "--model", model_dir).out
    assert ("another name" not in out) == is_known


def test_a_snapshot_of_the_hub_has_the_name_of_its_repository(
    model_dir: Path, adapter_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    snapshot = shutil.copytree(model_dir, tmp_path / "models--org--Llama-9" / "snapshots" / "0a1b")
    adapter = shutil.copytree(adapter_dir, tmp_path / "a")
    edit_config(adapter, base_model_name_or_path="org/Llama-9")
    assert "another name" not in motet.run("adapters", "check", adapter, "--model", snapshot).out


def edit_config(adapter: Path, **fields: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_each_bad_adapter_has_its_line_and_the_exit_code_is_1(
    model_dir: Path, adapter_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    bad = shutil.copytree(adapter_dir, tmp_path / "bad")
    edit_config(bad, lora_bias=True)
    ended = motet.run("adapters", "check", bad, adapter_dir, "/no/such", "--model", model_dir)
    assert (ended.code, ended.err) == (1, "")
    first, second, _, third = ended.out.splitlines()
    assert first.startswith(f"failed  adapter '{bad}': lora_bias is set to True")
    assert second.startswith(f"ok      adapter '{adapter_dir}'")
    assert third.startswith("failed  adapter '/no/such' does not exist")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "MODEL"], "DIR"),
        (["ADAPTER", "--model", "/no/such"], "model '/no/such' does not exist"),
    ],
)
def test_bad_arguments(
    arguments: list[str], expected: str, model_dir: Path, adapter_dir: Path, motet: Commands
) -> None:
    names = {"ADAPTER": str(adapter_dir), "MODEL": str(model_dir)}
    ended = motet.run("adapters", "check", *(names.get(text, text) for text in arguments))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err
