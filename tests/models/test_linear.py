"""Products with packed weights against plain ones."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motet.engine.models import linear, load_model, read_config
from motet.engine.models.linear import UNPACKED_ROWS, Linear, can_pack
from motet.engine.models.loader import Weights
from tests.model_factory import make_llama
from tests.models.stepping import Stepper, Track

CPU = torch.device("cpu")
SHAPES = [(96, 64), (1, 1), (7, 5), (40, 130), (131, 72)]
"""`(out_features, in_features)`, some no multiple of any block."""

NUM_ROWS = [0, 1, 2, 31, 32, 33, 513, UNPACKED_ROWS, UNPACKED_ROWS + 1]

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    assert isinstance(request.param, torch.dtype)
    if not can_pack(request.param, CPU):
        pytest.skip(f"this processor multiplies no packed {request.param}")
    return request.param


@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_product_equals_the_plain_one(
    dtype: torch.dtype, shape: tuple[int, int], has_bias: bool
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape).to(dtype)
    bias = torch.randn(shape[0]).to(dtype) if has_bias else None
    packed = Linear(weight, bias)
    packed.pack()

    for num_rows in NUM_ROWS:
        x = torch.randn(num_rows, shape[1]).to(dtype)
        expected = functional.linear(x, weight, bias)
        got = packed.forward(x)
        assert got.dtype is dtype and got.shape == expected.shape
        tolerance = TOLERANCE[dtype] * shape[1] ** 0.5
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=TOLERANCE[dtype])


def test_packed_product_reads_rows_that_lie_apart(dtype: torch.dtype) -> None:
    weight, x = torch.randn(24, 16).to(dtype), torch.randn(5, 48).to(dtype)[:, 16:32]
    packed = Linear(weight)
    packed.pack()
    expected = functional.linear(x, weight)
    torch.testing.assert_close(packed.forward(x), expected, atol=0.1, rtol=TOLERANCE[dtype])


@pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no packed products"
)
def test_float32_is_packed_wherever_onednn_is() -> None:
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    assert can_pack(torch.float32, CPU) == has_onednn


@pytest.mark.skipif(not can_pack(torch.float32, CPU), reason="nothing is packed here")
def test_weights_are_packed_one_by_one_and_not_kept_beside_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: list[weakref.ref[Tensor]] = []
    num_plain: list[int] = []
    stack, pack = Weights.stack, Linear.pack

    def remembered(*args: Any) -> Tensor:
        tensor = stack(*args)
        if tensor.dim() == 2:  # not a bias
            plain.append(weakref.ref(tensor))
        return tensor

    def counted(self: Linear) -> None:
        pack(self)
        num_plain.append(sum(each() is not None for each in plain))

    monkeypatch.setattr(Weights, "stack", remembered)
    monkeypatch.setattr(Linear, "pack", counted)
    spec = read_config(str(make_llama(tmp_path)))
    model = load_model(spec, torch.float32, CPU, 64, lambda *_: None)

    embedding = 1  # stays as it is
    assert model and num_plain == list(range(embedding, len(plain)))[::-1]


def test_nothing_is_packed_on_other_devices() -> None:
    assert not can_pack(torch.float32, torch.device("meta"))


def wrong(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = torch.zeros(len(x), weight.shape[0], dtype=x.dtype)
    product[-1, -1] = 1
    return product


def missing(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


def refused(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support")


@pytest.mark.parametrize("product", [wrong, missing, refused])
def test_weights_stay_plain_where_the_trial_fails(
    product: object, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_llama(tmp_path_factory.mktemp("model"))
    spec = read_config(str(path))

    def logits() -> Tensor:
        model = load_model(spec, torch.float32, CPU, 64, lambda *_: None)
        return Stepper(model, spec, torch.float32).run([Track([5, 6, 7])], [[(0, 3)]])[0]

    expected = logits()
    monkeypatch.setattr(linear, "_packed_product", product)

    assert not can_pack(torch.float32, CPU)
    torch.testing.assert_close(logits(), expected, atol=1e-5, rtol=1e-5)
