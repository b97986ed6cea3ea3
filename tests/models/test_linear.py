"""Products with packed weights against plain ones, and which packer is chosen."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motet.engine.models import linear, load_model, read_config
from motet.engine.models.linear import (
    Linear,
    Packer,
    Product,
    find_packer,
    pack_for_onednn,
    pack_native,
)
from motet.engine.models.loader import Weights
from motet.errors import ConfigError
from motet.kernels.cpu.compiler import NotCompiled
from tests.model_factory import make_llama
from tests.models.stepping import Stepper, Track

CPU = torch.device("cpu")
PACKERS = [pack_native, pack_for_onednn]
SHAPES = [(96, 64), (1, 1), (7, 5), (40, 130), (131, 72)]
"""`(out_features, in_features)`, some no multiple of any block."""

NUM_ROWS = [0, 1, 2, 31, 32, 33, 513]

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    assert isinstance(request.param, torch.dtype)
    return request.param


@pytest.fixture(params=PACKERS, ids=lambda packer: packer.__name__)
def packer(request: pytest.FixtureRequest, dtype: torch.dtype) -> Packer:
    packer: Packer = request.param
    if not linear._works(packer, dtype):
        pytest.skip(f"not for {dtype} on this processor")
    return packer


@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_product_equals_the_plain_one(
    packer: Packer, dtype: torch.dtype, shape: tuple[int, int], has_bias: bool
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape).to(dtype)
    bias = torch.randn(shape[0]).to(dtype) if has_bias else None
    packed = Linear(weight, bias)
    packed.pack(packer)

    for num_rows in NUM_ROWS:
        x = torch.randn(num_rows, shape[1]).to(dtype)
        expected = functional.linear(x, weight, bias)
        got = packed.forward(x)
        assert got.dtype is dtype and got.shape == expected.shape
        tolerance = TOLERANCE[dtype] * shape[1] ** 0.5
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=TOLERANCE[dtype])


def test_packed_product_reads_rows_that_lie_apart(packer: Packer, dtype: torch.dtype) -> None:
    weight, x = torch.randn(24, 16).to(dtype), torch.randn(5, 48).to(dtype)[:, 16:32]
    packed = Linear(weight)
    packed.pack(packer)
    expected = functional.linear(x, weight)
    torch.testing.assert_close(packed.forward(x), expected, atol=0.1, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(96, 64), (1536, 512)], ids=str)
def test_deterministic_products_of_a_row_are_the_same_in_any_batch(
    dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    product = pack_native(torch.randn(shape).to(dtype))
    x = torch.randn(2048, shape[1]).to(dtype)
    alone = torch.cat([product(row[None], None) for row in x[-70:]])

    for num_rows in [*range(1, 71), 2048]:
        at_the_end = product(x[-num_rows:], None)[-70:]
        assert torch.equal(at_the_end, alone[-num_rows:])


def test_plain_or_packed_a_linear_keeps_one_copy(packer: Packer, dtype: torch.dtype) -> None:
    weight = torch.randn(48, 32).to(dtype)
    alive, kept = weakref.ref(weight), Linear(weight)
    del weight
    assert alive() is not None

    kept.pack(packer)

    assert alive() is None


def refuse(weight: Tensor) -> Product:
    raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support")


def lack(weight: Tensor) -> Product:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


def not_compile(weight: Tensor) -> Product:
    raise NotCompiled("no C++ compiler is installed")


def err(weight: Tensor) -> Product:
    def product(x: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias) + (torch.arange(len(weight)) == 7)

    return product


def plain(weight: Tensor) -> Product:
    return lambda x, bias: functional.linear(x, weight, bias)


@pytest.mark.parametrize("fault", [refuse, lack, not_compile, err])
@pytest.mark.parametrize("has_instructions", [False, True])
def test_the_next_packer_is_chosen_where_the_best_fails_its_trial(
    fault: Packer, has_instructions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, other = ("pack_native", "pack_for_onednn")[:: -1 if has_instructions else 1]
    names = linear.INSTRUCTIONS[torch.bfloat16]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {names[-1]: has_instructions})
    monkeypatch.setattr(linear, other, plain)

    monkeypatch.setattr(linear, best, better := lambda weight: plain(weight))
    assert find_packer(torch.bfloat16, CPU) is better

    monkeypatch.setattr(linear, best, fault)
    assert find_packer(torch.bfloat16, CPU) is plain

    monkeypatch.setattr(linear, other, fault)
    assert find_packer(torch.bfloat16, CPU) is None


@pytest.mark.parametrize("has_instructions", [False, True])
def test_deterministic_mode_never_takes_what_depends_on_the_batch(
    dtype: torch.dtype, has_instructions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for each in linear.INSTRUCTIONS.values() for name in each]
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, has_instructions)
    )
    found = find_packer(dtype, CPU, is_deterministic=True)
    assert found is pack_native


def test_every_dtype_is_packed_on_a_processor_with_a_compiler(dtype: torch.dtype) -> None:
    assert linear._works(pack_native, dtype)
    assert find_packer(dtype, CPU) is not None


def test_nothing_is_packed_on_other_devices() -> None:
    assert find_packer(torch.float32, torch.device("meta")) is None


@pytest.mark.parametrize("deterministic", [False, True])
def test_weights_are_packed_one_by_one_and_not_kept_beside_that(
    tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    plain: list[weakref.ref[Tensor]] = []
    num_plain: list[int] = []
    stack, pack = Weights.stack, Linear.pack

    def remembered(*args: Any) -> Tensor:
        tensor = stack(*args)
        if tensor.dim() == 2:  # not a bias
            plain.append(weakref.ref(tensor))
        return tensor

    def counted(self: Linear, packer: Packer) -> None:
        pack(self, packer)
        num_plain.append(sum(each() is not None for each in plain))

    monkeypatch.setattr(Weights, "stack", remembered)
    monkeypatch.setattr(Linear, "pack", counted)
    spec = read_config(str(make_llama(tmp_path)))
    model = load_model(spec, dtype, CPU, 64, lambda *_: None, is_deterministic=deterministic)

    embedding = 1  # stays as it is
    assert model and num_plain == list(range(embedding, len(plain)))[::-1]


@pytest.mark.parametrize("fault", [refuse, not_compile, err])
def test_weights_stay_plain_where_no_packer_works(
    fault: Packer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = read_config(str(make_llama(tmp_path)))

    def logits() -> Tensor:
        model = load_model(spec, torch.float32, CPU, 64, lambda *_: None)
        return Stepper(model, spec, torch.float32).run([Track([5, 6, 7])], [[(0, 3)]])[0]

    expected = logits()
    for packer in PACKERS:
        monkeypatch.setattr(linear, packer.__name__, fault)

    torch.testing.assert_close(logits(), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"depend on the batch: install a C\+\+ compiler"):
        load_model(spec, torch.float32, CPU, 64, lambda *_: None, is_deterministic=True)
