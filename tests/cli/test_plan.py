"""`motet plan`: the estimate, for people and for programs."""

import json
import shutil
import subprocess
from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.commands.plan import size_text
from tests.cli.commands import Commands
from tests.cli.process import MOTET

POOL = ("--pool-bytes", "1MiB")


def test_a_plan_for_programs(model_dir: Path, adapter_dir: Path, motet: Commands) -> None:
    ended = motet.run("plan", model_dir, "--adapter", f"a={adapter_dir}", *POOL, "--json")
    assert (ended.code, ended.err) == (0, "")
    plan = json.loads(ended.out)
    assert plan["model"] == str(model_dir)
    assert plan["num_pages"] * plan["page_bytes"] == plan["pool_bytes"] == 1024**2
    assert plan["num_host_pages"] * plan["page_bytes"] == plan["host_bytes"] > 0
    assert [rank["rank"] for rank in plan["ranks"]] == [8, 16, 64]
    [adapter] = plan["adapters"]
    assert (adapter["name"], adapter["max_rank"]) == ("a", 3)
    origin = adapter["origin"]
    assert (origin["base_model"], origin["dtypes"]) == (str(model_dir), ["float32"])
    assert (origin["skipped"], origin["notes"], plan["skipped_adapters"]) == ([], [], [])


def test_a_plan_says_which_adapters_of_a_directory_would_be_refused(
    model_dir: Path, adapter_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    copytree(adapter_dir, tmp_path / "good")
    copytree(adapter_dir, tmp_path / "bad" / "checkpoint-2")
    arguments = ("plan", model_dir, "--adapter-dir", tmp_path, *POOL)
    ended = motet.run(*arguments)
    assert (ended.code, ended.err) == (0, "")
    assert "adapter good" in ended.out
    assert "refused: bad" in ended.out
    plan = json.loads(motet.run(*arguments, "--json").out)
    [skipped] = plan["skipped_adapters"]
    assert (skipped["name"], skipped["path"]) == ("bad", str(tmp_path / "bad"))
    assert f"did you mean '{tmp_path}/bad/checkpoint-2'?" in skipped["reason"]


def test_a_plan_for_people_has_no_frame_in_a_pipe(
    model_dir: Path, adapter_dir: Path, motet: Commands
) -> None:
    options = ("--adapter", f"a={adapter_dir}", *POOL, "--host-bytes", "3MiB")
    ended = motet.run("plan", model_dir, *options)
    assert (ended.code, ended.err) == (0, "")
    lines = dict(line.split("  ", 1) for line in ended.out.splitlines())
    facts = {name: text.strip() for name, text in lines.items()}
    assert facts["model"] == f"{model_dir} (LlamaForCausalLM, float32 on cpu)"
    assert facts["page"] == "16 tokens, 8.0 KiB"
    assert facts["pool"] == "128 pages, 1.0 MiB"
    assert facts["room for KV"] == "2,048 tokens"
    assert facts["host memory"] == "384 pages, 3.0 MiB"
    assert facts["sequences of 512"] == "4 at once"
    assert facts["adapters of rank 8"] == "16 at once, of 8 pages each"
    assert facts["adapter a"] == "8 pages, rank 3"
    assert f"trained for {model_dir} with PEFT" in ended.out


def test_a_plan_for_people_has_a_frame_on_a_terminal(
    model_dir: Path, motet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # how rich is told that it writes to a terminal
    out = motet.run("plan", model_dir, *POOL).out
    assert "what fits" in out
    assert "│" in out


def test_a_plan_says_what_a_start_would_warn_of(model_dir: Path, tmp_path: Path) -> None:
    model = shutil.copytree(model_dir, tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    save_file(tensors | {"v_head.weight": torch.ones(1)}, model / "model.safetensors")
    command = [str(MOTET), "plan", str(model), "--max-model-len", "600", *POOL]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0
    context, tensor = ended.stderr.splitlines()
    assert context.startswith("--max-model-len is 600: the model was made for 512 tokens")
    assert "tensor 'v_head.weight' is no part of the model" in tensor
    assert "600 tokens" in ended.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pool-bytes", "64KiB"], "the pool of 65536 bytes is too small"),
        (["--pool-bytes", "1TB"], "--pool-bytes is 1000000000000"),
        (["--host-bytes", "1TB", *POOL], "--host-bytes is 1000000000000: beside model and pool"),
        (["--host-bytes", "64KiB", *POOL], "--host-bytes is 65536: adapters pass through the host"),
        (["--link-gbps", "0"], "--link-gbps is 0.0: give gigabits per second above 0"),
        (["--link-gbps", "nan"], "--link-gbps is nan"),
        (["--adapter", "a=/no/such"], "adapter '/no/such' does not exist"),
        (["--adapter", "a"], "give it as NAME=PATH"),
    ],
)
def test_what_a_start_would_refuse_is_refused_in_its_words(
    options: list[str], expected: str, model_dir: Path, motet: Commands
) -> None:
    ended = motet.run("plan", model_dir, *options)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**40, "1.0 TiB")],
)
def test_sizes_have_the_unit_that_suits_them(num_bytes: int, text: str) -> None:
    assert size_text(num_bytes) == text
