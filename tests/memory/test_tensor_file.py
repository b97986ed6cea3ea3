"""Files of tensors that others change while they are read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motet.errors import AdapterError
from motet.memory.device.files import ADAPTER
from motet.memory.device.single_thread import CHECKED_ELEMENTS, is_finite
from motet.memory.device.tensor_file import MAX_HEADER_BYTES, opened_tensor_file
from tests.memory.peft_directories import a_directory, a_name, read

TENSORS = {
    "a": torch.arange(6.0).view(2, 3),
    "b": torch.tensor(7, dtype=torch.int64),
    "c": torch.zeros(0, 3, dtype=torch.bfloat16),
    "d": torch.arange(100_000).to(torch.float16),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "adapter_model.safetensors")
    return tmp_path / "adapter_model.safetensors"


def test_every_tensor_is_read_as_it_was_saved(path: Path) -> None:
    with opened_tensor_file(path, ADAPTER) as file:
        layout = file.layout()
        assert layout.tensors.keys() == TENSORS.keys()
        for name, tensor in TENSORS.items():
            header = layout.tensors[name]
            assert header.is_meta and (header.shape, header.dtype) == (tensor.shape, tensor.dtype)
            assert torch.equal(file.read(name, layout), tensor)


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error_and_no_signal(path: Path) -> None:
    with opened_tensor_file(path, ADAPTER) as file:
        layout = file.layout()
        os.truncate(path, 5000)
        with pytest.raises(AdapterError, match=r"shorter while it was read.*copy it again"):
            file.read("d", layout)


@pytest.mark.parametrize("successor", [None, b"something else"])
def test_a_file_that_has_lost_its_name_is_read_to_its_end(
    successor: bytes | None, path: Path
) -> None:
    with opened_tensor_file(path, ADAPTER) as file:
        layout = file.layout()
        path.unlink()
        if successor is not None:
            path.write_bytes(successor)
        assert torch.equal(file.read("d", layout), TENSORS["d"])


@pytest.mark.parametrize("size", [0, 5, 8, 100, 200_000])
def test_a_file_that_ends_too_early_is_refused(size: int, path: Path) -> None:
    os.truncate(path, size)
    with (
        pytest.raises(AdapterError, match="not a complete safetensors file"),
        opened_tensor_file(path, ADAPTER) as file,
    ):
        file.layout()


def test_a_header_that_would_fill_the_memory_is_not_read(path: Path) -> None:
    with path.open("r+b") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(2 * MAX_HEADER_BYTES)
    with (
        pytest.raises(AdapterError, match=f"its header would have {MAX_HEADER_BYTES + 1} bytes"),
        opened_tensor_file(path, ADAPTER),
    ):
        pass


@pytest.mark.parametrize(
    ("width", "expected"), [(2**28, "has no lora_B"), (2**39, "bytes, too many for this machine")]
)
def test_values_that_no_adapter_has_are_never_read(
    width: int, expected: str, tmp_path: Path
) -> None:
    """Files of 4 GiB and of 8 TiB, nearly all of them holes."""
    directory, name = a_directory(tmp_path / "a"), a_name(0, "q_proj", "A")
    header = f'{{"{name}":{{"dtype":"F32","shape":[4,{width}],"data_offsets":[0,{16 * width}]}}}}'
    with (directory / "adapter_model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + 16 * width)
    with pytest.raises(AdapterError, match=expected):
        read(directory)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("place", [0, CHECKED_ELEMENTS - 1, CHECKED_ELEMENTS, CHECKED_ELEMENTS + 6])
def test_one_number_that_is_none_is_found(dtype: torch.dtype, place: int) -> None:
    numbers = torch.full((CHECKED_ELEMENTS + 7,), torch.finfo(dtype).max, dtype=dtype)
    numbers[1] = torch.finfo(dtype).min
    assert is_finite(numbers)
    for wrong in (torch.inf, -torch.inf, torch.nan):
        numbers[place] = wrong
        assert not is_finite(numbers)


def test_finding_them_takes_no_second_team_of_threads() -> None:
    """In a process of its own: other tests have teams."""
    script = (
        "import os, torch\n"
        "from motet.memory.device.single_thread import is_finite\n"
        "torch.set_num_threads(4)\n"
        "tensor = torch.empty(2**22)\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "is_finite(tensor)\n"
        "assert len(os.listdir('/proc/self/task')) == before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
