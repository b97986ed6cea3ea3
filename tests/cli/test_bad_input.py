"""What the operator gets wrong: one line that names it and says what to do, and exit code 2."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import Commands, Ended


def assert_one_line(ended: Ended, *expected: str) -> None:
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.startswith("motet: error: ")
    assert ended.err.count("\n") == 1, ended.err
    for text in expected:
        assert text in ended.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["Missing command"]),
        (["serve", "MODEL", "--prot", "1"], ["--prot", "--port"]),
        (["serve", "MODEL", "--port", "http"], ["--port"]),
        (["serve", "MODEL", "--port", "70000"], ["--port is 70000", "65535"]),
        (["serve", "MODEL", "--host", "no such host"], ["--host is 'no such host'"]),
        (["serve", "MODEL", "--host", "192.0.2.1"], ["192.0.2.1", "--host"]),
        (["serve", "MODEL", "--pool-bytes", "8GX"], ["--pool-bytes is '8GX'", "8GiB"]),
        (["serve", "MODEL", "--pool-bytes", ""], ["--pool-bytes is ''"]),
        (["serve", "MODEL", "--pool-bytes", "0"], ["--pool-bytes is 0"]),
        (["serve", "MODEL", "--pool-bytes", "64KiB"], ["--pool-bytes", "65536"]),
        (["serve", "MODEL", "--max-batch-rows", "0"], ["--max-batch-rows is 0"]),
        (["serve", "MODEL", "--pool-bytes", "9" * 5000], ["--pool-bytes is '999", "..."]),
        (["serve", "MODEL", "--pool-bytes", "1e99"], ["--pool-bytes is 99"]),
        (["serve", "MODEL", "--page-tokens", "1000000000000"], ["--page-tokens is 1"]),
        (["serve", "MODEL", "--max-batch-tokens", "1000000000"], ["--max-batch-tokens is 1"]),
        (["serve", "MODEL", "--max-batch-adapters", "9" * 23], ["--max-batch-adapters is 9"]),
        (["serve", "MODEL", "--max-lora-rank", "257"], ["--max-lora-rank is 257", "256"]),
        (["serve", "MODEL", "--max-model-len", "0"], ["--max-model-len is 0"]),
        (["serve", "MODEL", "--dtype", "int4"], ["--dtype", "int4", "bfloat16"]),
        (["serve", "MODEL", "--device", "tpu"], ["--device", "tpu", "cpu"]),
        (["serve", "MODEL", "--adapter", "a"], ["--adapter is 'a'", "NAME=PATH"]),
        (["serve", "MODEL", "--adapter", "a="], ["--adapter is 'a='", "NAME=PATH"]),
        (["serve", "MODEL", "--adapter", "a\nb=x"], ["'a\\nb'", "printable"]),
        (["serve", "MODEL", "--adapter", "a=x", "--adapter", "a=y"], ["'a'", "twice"]),
        (["serve", "MODEL", "--adapter", "a=/no/such"], ["/no/such"]),
        (["serve", "/no/such/model"], ["/no/such/model"]),
        (["serve", "/" + "long" * 99], ["/longlong", "File name too long"]),
        (["serve", ""], ["the model is ''"]),
        (["bench"], ["Missing command"]),
        (["bench", "serve", "--concurrency", "0"], ["--concurrency is 0"]),
        (["bench", "serve", "--json", "/no/such/file"], ["--json is '/no/such/file'"]),
        (["bench", "serve", "--base-url", "http://127.0.0.1:9"], ["127.0.0.1:9", "--base-url"]),
        (["bench", "serve", "--base-url", "nonsense"], ["nonsense", "--base-url"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_arguments(
    arguments: list[str], expected: list[str], model_dir: Path, motet: Commands
) -> None:
    given = [str(model_dir) if argument == "MODEL" else argument for argument in arguments]
    if given[:1] == ["serve"] and "--port" not in given:
        given += ["--port", "0"]
    assert_one_line(motet.run(*given), *expected)


def test_a_taken_port_is_noticed_before_the_model_is_read(motet: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_one_line(motet.run("serve", "/no/such", "--port", port), f"port {port}", "--port")


def test_an_adapter_cannot_have_the_name_of_the_model(
    model_dir: Path, adapter_dir: Path, motet: Commands
) -> None:
    ended = motet.run("serve", model_dir, "--adapter", f"tiny={adapter_dir}", "--port", 0)
    assert_one_line(ended, "'tiny'", "--served-model-name")


def test_a_file_is_no_adapter(model_dir: Path, motet: Commands) -> None:
    path = model_dir / "config.json"
    ended = motet.run("serve", model_dir, "--adapter", f"a={path}", "--port", 0)
    assert_one_line(ended, str(path))


def test_a_file_is_no_model(model_dir: Path, motet: Commands) -> None:
    path = model_dir / "config.json"
    assert_one_line(motet.run("serve", path, "--port", 0), str(path))


def truncate(model: Path) -> str:
    """Like the others below: damage a model, and say what the message must name."""
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return "model.safetensors"


def scribble(model: Path) -> str:
    (model / "model.safetensors").write_bytes(b"\xff" * 1000)
    return "model.safetensors"


def be_another_architecture(model: Path) -> str:
    change_config(model, architectures=["OtherForCausalLM"])
    return "OtherForCausalLM"


def be_quantised(model: Path) -> str:
    change_config(model, quantization_config={"quant_method": "gptq"})
    return "quantization"


def be_remote_code(model: Path) -> str:
    change_config(model, architectures=["Y"], auto_map={"AutoModelForCausalLM": "x.Y"})
    return "auto_map"


def break_tokenizer(model: Path) -> str:
    (model / "tokenizer.json").write_text("{")
    return "tokenizer"


def change_config(model: Path, **changes: object) -> None:
    config = json.loads((model / "config.json").read_text()) | changes
    (model / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        scribble,
        be_another_architecture,
        be_quantised,
        be_remote_code,
        break_tokenizer,
    ],
)
def test_bad_models(
    damage: Callable[[Path], str], model_dir: Path, tmp_path: Path, motet: Commands
) -> None:
    model = shutil.copytree(model_dir, tmp_path / "model")
    expected = damage(model)
    assert_one_line(motet.run("serve", model, "--port", 0), expected)


def test_the_command_line_starts_without_heavy_imports() -> None:
    heavy = "{'torch', 'transformers', 'fastapi', 'httpx'} & set(sys.modules)"
    code = f"import sys, motet.cli; print(sorted({heavy}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
