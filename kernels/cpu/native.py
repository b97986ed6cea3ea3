"""Calls into the compiled C++, on the raw pointers of tensors."""

import ctypes
from collections.abc import Callable
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from motet.kernels.cpu.compiler import NotCompiled, Progress, load_library

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
"""What `with_dtype` in simd.h calls the dtypes."""

_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}
_PLAIN = (int, float, bytes, NoneType)


class Library:
    """The shared object of this process: like a module, loaded once."""

    _handle: ctypes.CDLL | None = None
    _failure: NotCompiled | None = None

    @classmethod
    def load(cls, progress: Progress = lambda done, total: None) -> ctypes.CDLL:
        """Compile it if need be, reporting progress. Raises NotCompiled, and then always."""
        if cls._failure is not None:
            raise cls._failure
        if cls._handle is None:
            try:
                cls._handle = load_library(progress)
            except NotCompiled as failure:
                cls._failure = failure
                raise
        return cls._handle


class Function:
    """A function of the library, found when it is first called.

    `parameters` has a letter for each: p is the data of a tensor or bytes (None: null), i an
    integer, f a float. The data must be contiguous unless the function takes strides. While it
    runs, other threads of Python do.
    """

    def __init__(self, name: str, parameters: str) -> None:
        self._name = name
        self._types = [_TYPES[letter] for letter in parameters]
        self._call: Callable[..., None] | None = None

    def __call__(self, *arguments: Tensor | bytes | float | None) -> None:
        call = self._call or self._find()
        # Asked for the others first: being a tensor is a slow question.
        call(*[a if isinstance(a, _PLAIN) else a.data_ptr() for a in arguments])

    def _find(self) -> Callable[..., None]:
        call: Any = getattr(Library.load(), f"motet_{self._name}")
        call.argtypes, call.restype = self._types, None
        self._call = call
        return self._call
