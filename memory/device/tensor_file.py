"""A safetensors file that others may cut off, replace or rewrite while it is read."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from motet.memory.device.files import Origin, opened

LENGTH_BYTES = 8
"""At the beginning of the file: the length of the header that follows."""

MAX_TENSORS = 2**13
"""Far above every real adapter, which has three for a module at most."""

MAX_HEADER_BYTES = 4 * 1024**2
"""Far above every real one, which has some 150 bytes for a tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorLayout:
    """Where the tensors lie in all files of one header and size."""

    header: bytes
    size: int
    tensors: Mapping[str, Tensor]
    """Name -> shape and dtype, on the meta device."""
    starts: Mapping[str, int]
    """Name -> place of the first byte."""


class TensorFile:
    """Its header, and single tensors of it on demand.

    Nothing of the file is mapped: reading a mapped file that has become shorter meanwhile kills the
    process. The file stays the one that was opened, whatever takes its name.
    """

    def __init__(self, file: BinaryIO, path: Path, origin: Origin) -> None:
        """Reads the header. Raises the error of `origin` where it is no possible one."""
        self._file = file
        self._path = path
        self._origin = origin
        self.header = self._header()
        self.size = os.fstat(file.fileno()).st_size

    def layout(self) -> TensorLayout:
        """What the header says. Raises the error of `origin` unless it is right, and the file has
        the size that it says."""
        tensors = self._checked()
        fields = json.loads(self.header[LENGTH_BYTES:])
        first = len(self.header)
        starts = {name: first + fields[name]["data_offsets"][0] for name in tensors}
        return TensorLayout(self.header, self.size, tensors, starts)

    def has(self, layout: TensorLayout) -> bool:
        """Whether this is its layout: one of another file will do."""
        return layout.size == self.size and layout.header == self.header

    def read(self, name: str, layout: TensorLayout) -> Tensor:
        """The values of a tensor. Raises the error of `origin` where the file has lost them."""
        tensor = layout.tensors[name]
        values = torch.empty(tensor.shape, dtype=tensor.dtype)
        if values.numel():
            room = values.reshape(-1).view(torch.uint8).numpy().data
            self._fill(room, layout.starts[name])
        return values

    def _header(self) -> bytes:
        """With its length, as far as the file goes."""
        start = self._file.read(LENGTH_BYTES)
        length = int.from_bytes(start, "little")
        if length > MAX_HEADER_BYTES:
            raise self._incomplete(f"its header would have {length} bytes")
        return start + self._file.read(length)

    def _checked(self) -> dict[str, Tensor]:
        """Shapes and dtypes, by the library: it sees a file that has this header, the size of
        this one, and holes for values."""
        stand_in = os.memfd_create("header")
        try:
            os.write(stand_in, self.header)
            os.ftruncate(stand_in, self.size)
            with safe_open(f"/proc/self/fd/{stand_in}", framework="pt") as library:
                names = library.keys()
                if len(names) > MAX_TENSORS:  # to make them all takes seconds
                    raise self._origin.fault(
                        self._path.parent,
                        f"{self._path.name} has {len(names)} tensors, more than {MAX_TENSORS}: "
                        f"{self._origin.remedy}",
                    )
                return {name: library.get_tensor(name).to("meta") for name in names}
        except SafetensorError as error:
            raise self._incomplete(str(error)) from None
        except RuntimeError:  # torch cannot even map it
            raise self._origin.fault(
                self._path.parent,
                f"{self._path.name} has {self.size} bytes, too many for this machine: copy it "
                "again",
            ) from None
        finally:
            os.close(stand_in)

    def _fill(self, room: memoryview, start: int) -> None:
        while room:
            num_bytes = os.preadv(self._file.fileno(), [room], start)
            if not num_bytes:
                raise self._incomplete("it has become shorter while it was read")
            room, start = room[num_bytes:], start + num_bytes

    def _incomplete(self, reason: str) -> Exception:
        return self._origin.fault(
            self._path.parent,
            f"{self._path.name} is not a complete safetensors file ({reason}): copy it again",
        )


@contextmanager
def opened_tensor_file(path: Path, origin: Origin) -> Iterator[TensorFile]:
    """Raises the error of `origin` where it cannot be read, now or later."""
    with opened(path, origin) as file:
        yield TensorFile(file, path, origin)
