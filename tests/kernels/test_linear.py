"""Products with packed weights, against the same in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from motet.kernels.cpu.linear import PackedLinear
from tests.kernels.target import TOLERANCE, assert_near

SHAPES = [(1, 1), (5, 7), (24, 256), (131, 72), (130, 257), (97, 1000), (1024, 2816)]
"""`(out_features, in_features)`, some no multiple of any block."""

NUM_ROWS = [0, 1, 2, 3, 4, 5, 8, 9, 33, 191, 192, 193, 400]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_packed_product_is_the_sum_over_all_features(
    dtype: torch.dtype, shape: tuple[int, int], has_bias: bool
) -> None:
    weight = torch.randn(shape).to(dtype)
    bias = 3 * torch.randn(shape[0]).to(dtype) if has_bias else None
    linear = PackedLinear(weight)

    for num_rows in NUM_ROWS:
        x = torch.randn(num_rows, shape[1]).to(dtype)
        expected = x.double() @ weight.double().T + (bias.double() if bias is not None else 0)

        got = linear.product(x, bias)

        assert got.dtype is dtype and got.is_contiguous()
        assert_near(got, expected, TOLERANCE[dtype])


def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    weight, x = torch.randn(40, 3000).to(dtype), torch.randn(9, 3000).to(dtype)
    wide = PackedLinear(weight.float()).product(x.float(), None)

    assert torch.equal(PackedLinear(weight).product(x, None), wide.to(dtype))


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("shape", [(50, 700), (1000, 300)], ids=str)
def test_a_row_is_the_same_in_any_batch_on_any_number_of_threads(
    dtype: torch.dtype, shape: tuple[int, int], num_threads: int
) -> None:
    linear, bias = PackedLinear(torch.randn(shape).to(dtype)), torch.randn(shape[0]).to(dtype)
    x = torch.randn(2048, shape[1]).to(dtype)
    torch.set_num_threads(1)
    alone = torch.cat([linear.product(row[None], bias) for row in x])

    torch.set_num_threads(num_threads)
    for num_rows in [*range(1, 71), 2048]:
        assert torch.equal(linear.product(x[:num_rows], bias), alone[:num_rows])
        assert torch.equal(linear.product(x[-num_rows:], bias), alone[-num_rows:])


def test_rows_do_not_see_what_is_in_others(dtype: torch.dtype) -> None:
    linear, x = PackedLinear(torch.randn(30, 300).to(dtype)), torch.randn(20, 300).to(dtype)
    expected = linear.product(x, None)
    x[::2] = torch.nan

    assert torch.equal(linear.product(x, None)[1::2], expected[1::2])


@pytest.mark.parametrize("layout", ["apart", "transposed"])
def test_rows_need_not_lie_together(dtype: torch.dtype, layout: str) -> None:
    linear, x = PackedLinear(torch.randn(24, 16).to(dtype)), torch.randn(5, 16).to(dtype)
    other = torch.full((5, 48), torch.nan, dtype=dtype)
    views: dict[str, Tensor] = {"apart": other[:, 16:32], "transposed": x.T.contiguous().T}
    view = views[layout].copy_(x)

    assert torch.equal(linear.product(view, None), linear.product(x, None))


def test_a_weight_may_be_a_part_of_another(dtype: torch.dtype) -> None:
    weight, x = torch.randn(40, 30).to(dtype), torch.randn(3, 20).to(dtype)
    part = weight[5:30, 5:25]

    expected = PackedLinear(part.contiguous()).product(x, None)

    assert torch.equal(PackedLinear(part).product(x, None), expected)


def test_infinite_and_undefined_values_stay_so(dtype: torch.dtype) -> None:
    linear = PackedLinear(torch.ones(25, 3).to(dtype))
    x = torch.tensor([[torch.inf, 0, 1], [torch.nan, 0, 1], [-torch.inf, torch.inf, 1]]).to(dtype)

    assert torch.equal(linear.product(x[:1], None), torch.full((1, 25), torch.inf, dtype=dtype))
    assert linear.product(x[1:], None).isnan().all()
