"""The bench of kernels on a tiny model: what it calls, what it counts, what it shows."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from motet.bench.kernels import __main__ as program
from motet.bench.kernels.cases import KINDS, Case, cases
from motet.bench.kernels.report import KernelReport, Timing
from motet.bench.kernels.setting import LoraSetting, Setting, an_attention_batch
from motet.bench.machine import Machine
from motet.bench.peaks import Peaks
from motet.bench.random_model import SHAPES
from motet.kernels import GROUPS, operations
from motet.memory.geometry import Module

PEAKS = Peaks(1e9, {"float32": 1e10})
MACHINE = Machine("a processor", 2, ("avx2",), 2**34, None, "3.11", "2026-11-21")


@pytest.fixture
def setting() -> Setting:
    return Setting(SHAPES["tiny"], torch.float32)  # 2 layers, 64 wide, 4 heads, 2 of KV


def a_case(setting: Setting, kernel: str, *shape: object) -> Case:
    return KINDS[kernel].build(setting, *shape)


def test_every_kernel_of_the_protocol_is_timed() -> None:
    kernels = {name for group in GROUPS for name in operations(group)}
    assert KINDS.keys() == kernels | {"linear"}


@pytest.mark.parametrize("backend", program.BACKENDS)
@pytest.mark.parametrize("kernel", KINDS)
@torch.inference_mode()
def test_every_case_can_be_called(setting: Setting, kernel: str, backend: str) -> None:
    for _, build in cases(setting, [kernel], is_short=True):
        case = build()
        assert case.num_bytes > 0
        for call in case.calls(backend):
            call()


@pytest.mark.parametrize("kernel", KINDS)
def test_a_short_run_has_some_of_the_cases(setting: Setting, kernel: str) -> None:
    assert 0 < len(cases(setting, [kernel], is_short=True)) <= len(KINDS[kernel].shapes)
    assert len(cases(setting, [kernel], is_short=False)) == len(KINDS[kernel].shapes)


def test_attention_counts_the_keys_that_are_seen(setting: Setting) -> None:
    case = a_case(setting, "paged_attention", 3, 1, 5)  # queries at 2, 3 and 4 see 3, 4 and 5
    assert case.flops == 4 * (3 + 4 + 5) * 64
    assert case.num_bytes == 4 * (2 * 5 * 32 + 2 * 3 * 64)


def test_lora_counts_only_adapters_that_have_rows(setting: Setting) -> None:
    case = a_case(setting, "lora_shrink", 3, "q+k", (8, 16, 64, 64))
    assert case.flops == 2 * (8 + 16 + 64) * (64 + 64)
    assert case.num_bytes == 4 * ((8 + 16 + 64) * (64 + 64) + 3 * 64 + 2 * (8 + 16 + 64))


def test_expand_reads_and_writes_its_rows(setting: Setting) -> None:
    case = a_case(setting, "lora_expand", 2, "q+k", (8,))
    assert case.flops == 2 * 2 * 8 * (64 + 32)
    assert case.num_bytes == 4 * (8 * (64 + 32) + 2 * 2 * (64 + 32) + 2 * 2 * 8)


def test_a_product_counts_weights_input_and_output(setting: Setting) -> None:
    case = a_case(setting, "linear", 2, "down")
    assert case.flops == 2 * 2 * 64 * 128
    assert case.num_bytes == 4 * (64 * 128 + 2 * 128 + 2 * 64)


def test_every_row_is_in_one_chunk_of_its_adapter(setting: Setting) -> None:
    lora = LoraSetting.of(setting, (Module("q_proj", 64, 64),), (8, 16, 8), 2)
    batch = lora.batch(50)
    seen = []
    for slot, start, length in zip(
        batch.chunk_slot.tolist(), batch.chunk_start.tolist(), batch.chunk_len.tolist(), strict=True
    ):
        rows = batch.row_index[start : start + length].tolist()
        assert {row % 3 for row in rows} == {slot}
        seen += rows
    assert sorted(seen) == list(range(50))


def test_rows_of_attention_share_no_page() -> None:
    batch = an_attention_batch(num_rows=3, num_queries=2, context_len=20)
    assert sorted(batch.page_table.flatten().tolist()) == list(range(6))
    last_pages = batch.page_table[:, 1].tolist()
    assert batch.kv_index.tolist() == [16 * page + place for page in last_pages for place in (2, 3)]


def test_a_row_says_the_bound_its_share_and_the_ratio() -> None:
    read = Timing("a", "s", "float32", 2**20, 1000, {"cpu": 0.002, "reference": 0.004})
    matrix = Timing("b", "s", "float32", 10, 10**8, {"cpu": 0.01, "reference": 0.1})
    report = KernelReport(MACHINE, 2, "a command", PEAKS, ("cpu", "reference"), (read, matrix))
    assert report.rows("float32") == [
        ("a", "s", "1.00 MiB", "2,000.0", "0.52", "4,000.0", "0.26", "2.00"),
        ("b", "s", "100 MFLOP", "10,000.0", "1.00", "100,000.0", "0.10", "10.00"),
    ]
    assert report.rows("bfloat16") == []
    assert report.footer()[-1] == "a command"


def test_a_run_prints_a_table_and_writes_json_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "measure_peaks", lambda dtypes: PEAKS)
    monkeypatch.setattr(program, "SHORT_BUDGET_S", 0)
    options = ["--shape", "tiny", "--threads", "1", "--short", "--dtype", "float32"]
    program.main([*options, "--kernels", "silu_mul", "linear", "--output", str(tmp_path)])
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "kernels.json").read_bytes())
    assert [line.split()[0] for line in out.splitlines() if " rows " in line] == [
        timing["kernel"] for timing in report["timings"]
    ]
    assert all(timing["seconds"].keys() == {"cpu", "reference"} for timing in report["timings"])
    assert out.rstrip().endswith(f"--kernels silu_mul linear --output {tmp_path}")
    assert ElementTree.parse(tmp_path / "kernels.svg").getroot().tag.endswith("svg")
