"""What a reader remembers of headers: never that of another adapter."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from motet.errors import AdapterError
from motet.file_names import ADAPTER_WEIGHTS
from motet.memory.device.peft import KNOWN_HEADERS, PeftReader
from motet.memory.device.tensor_file import TensorFile, TensorLayout
from tests.adapter_factory import SomeTensors
from tests.memory.peft_directories import GEOMETRY, Q_A, a_directory, read, some_tensors

HEAD = "base_model.model.lm_head.weight"


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files whose headers were gone through."""
    sizes: list[int] = []
    layout = TensorFile.layout

    def counted(file: TensorFile) -> TensorLayout:
        sizes.append(file.size)
        return layout(file)

    monkeypatch.setattr(TensorFile, "layout", counted)
    return sizes


def a_reader(max_rank: int = 64) -> PeftReader:
    return PeftReader(GEOMETRY, max_rank, SomeTensors({"lm_head.weight": torch.ones(9, 8)}))


def plus_one() -> dict[str, Tensor]:
    return {name: tensor + 1 for name, tensor in some_tensors().items()}


def test_adapters_that_were_trained_alike_are_understood_once_and_keep_their_values(
    tmp_path: Path, understood: list[int]
) -> None:
    reader = a_reader()
    one, other = a_directory(tmp_path / "one"), a_directory(tmp_path / "other", plus_one())
    found = [reader.read(str(path)) for path in (one, other, one)]
    assert reader.header(str(other)).source == str(other)
    assert len(understood) == 1
    assert [weights.source for weights in found] == [str(one), str(other), str(one)]
    for weights, directory in zip(found, (one, other, one), strict=True):
        expected = read(directory)
        for module, pair in expected.pairs.items():
            assert torch.equal(weights.pairs[module].a, pair.a)
            assert torch.equal(weights.pairs[module].b, pair.b)
    assert reader.header(str(one)).pairs[0].a.is_meta  # what is remembered has no values


def test_another_configuration_of_the_same_tensors_is_another_adapter(
    tmp_path: Path, understood: list[int]
) -> None:
    reader = a_reader()
    directories = [a_directory(tmp_path / str(alpha), None, lora_alpha=alpha) for alpha in (8, 16)]
    scales = [max(reader.read(str(path)).scales) for path in directories]
    assert scales == [2.0, 4.0]
    assert len(understood) == 2


def test_a_file_of_another_size_is_gone_through_again(
    tmp_path: Path, understood: list[int]
) -> None:
    reader, directory = a_reader(), a_directory(tmp_path / "a")
    reader.read(str(directory))
    with (directory / ADAPTER_WEIGHTS).open("ab") as file:
        file.write(b"more")
    with pytest.raises(AdapterError, match="not a complete safetensors file"):
        reader.read(str(directory))
    assert len(understood) == 2


def test_values_are_checked_each_time_and_named_by_their_own_directory(tmp_path: Path) -> None:
    reader = a_reader()
    reader.read(str(a_directory(tmp_path / "good")))
    tensors = some_tensors()
    tensors[Q_A][0, 0] = torch.nan
    with pytest.raises(AdapterError, match=r"adapter '.*/bad': tensor '.*' holds NaN"):
        reader.read(str(a_directory(tmp_path / "bad", tensors)))


def test_copies_of_the_base_are_compared_each_time(tmp_path: Path) -> None:
    reader = a_reader()
    equal, trained = a_directory(tmp_path / "equal"), a_directory(tmp_path / "trained")
    for directory, value in ((equal, 1.0), (trained, 2.0)):
        head = {HEAD: torch.full((9, 8), value)}
        save_file(some_tensors() | head, directory / ADAPTER_WEIGHTS)
    assert reader.read(str(equal)).skipped == (HEAD,)
    with pytest.raises(AdapterError, match=r"/trained': .*whose values differ"):
        reader.read(str(trained))


def test_a_header_that_is_refused_is_refused_again(tmp_path: Path, understood: list[int]) -> None:
    reader, directory = a_reader(max_rank=2), a_directory(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(AdapterError, match="--max-lora-rank 2"):
            reader.read(str(directory))
    assert len(understood) == 2


def test_only_the_headers_that_were_used_last_are_remembered(
    tmp_path: Path, understood: list[int]
) -> None:
    reader = a_reader()
    directories = [
        a_directory(tmp_path / str(rank), some_tensors(rank), r=rank)
        for rank in range(1, KNOWN_HEADERS + 2)
    ]
    for directory in directories[:-1]:
        reader.read(str(directory))
    reader.read(str(directories[0]))
    assert len(understood) == KNOWN_HEADERS
    reader.read(str(directories[-1]))
    reader.read(str(directories[0]))
    assert len(understood) == KNOWN_HEADERS + 1
    reader.read(str(directories[1]))
    assert len(understood) == KNOWN_HEADERS + 2
