"""The least time that some work can take, and how calls are timed."""

import pytest
import torch

from motet.bench import peaks
from motet.bench.peaks import Floor, Peaks, measure_peaks
from motet.bench.timing import LEAST_REPEATS, median_s

PEAKS = Peaks(read_bytes_per_s=100.0, flops_per_s={"float32": 1000.0, "bfloat16": 10.0})


@pytest.mark.parametrize(
    ("num_bytes", "flops", "floor"),
    [
        (200, 1000, Floor(2.0, "read")),
        (200, 3000, Floor(3.0, "matrix")),
        (200, 0, Floor(2.0, "read")),
    ],
)
def test_the_longer_of_reading_and_multiplying_bounds(
    num_bytes: int, flops: int, floor: Floor
) -> None:
    assert PEAKS.floor(num_bytes, flops, "float32") == floor


def test_a_dtype_that_is_slow_to_multiply_can_be_widened() -> None:
    assert PEAKS.floor(0, 3000, "bfloat16") == Floor(3.0, "matrix")


def test_peaks_are_measured_for_each_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "MATRIX_SIZES", (32,))
    measured = measure_peaks(
        {"float32": torch.float32, "bfloat16": torch.bfloat16}, times_the_cache=1
    )
    assert measured.read_bytes_per_s > 1e6
    assert measured.flops_per_s.keys() == {"float32", "bfloat16"}
    assert all(rate > 1e3 for rate in measured.flops_per_s.values())


def test_no_product_follows_one_that_was_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def count(x: torch.Tensor, y: torch.Tensor) -> None:
        tried.append(len(x))

    monkeypatch.setattr(peaks, "MATRIX_SIZES", (8, 16))
    monkeypatch.setattr(peaks, "SLOW_S", 0.0)
    monkeypatch.setattr(torch, "mm", count)
    measure_peaks({"float32": torch.float32}, times_the_cache=1)
    assert tried == [8]


def test_calls_are_made_in_turn_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    now_s = iter(range(1000))
    monkeypatch.setattr("motet.bench.timing.time.perf_counter", lambda: next(now_s))
    taken_s = median_s([lambda: made.append("a"), lambda: made.append("b")], budget_s=0)
    assert made[:2] == ["a", "b"]
    assert made[2:] == ["a", "b", "a", "b", "a"][:LEAST_REPEATS]
    assert taken_s == 1
