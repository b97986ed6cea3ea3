"""Which kernels run on a device."""

import logging
from collections.abc import Callable

import torch

from motet.engine.start.blueprint import DEVICES
from motet.errors import ConfigError
from motet.kernels import Kernels, load_kernels
from motet.kernels.cpu.compiler import NotCompiled
from motet.kernels.cpu.native import Library

log = logging.getLogger(__name__)


def prepare_kernels(
    device: torch.device, progress: Callable[[int, int], None], *, is_deterministic: bool
) -> Kernels:
    """Ready to be called; those of a CPU are compiled when they are first needed.

    Where they cannot be, those in torch take their place, with one warning. Raises ConfigError if
    these will not do, because what they compute for a row depends on its batch.
    """
    if device.type == "cpu":
        try:
            Library.load(progress)
        except NotCompiled as error:
            if is_deterministic:
                raise ConfigError(f"--deterministic needs the native kernels: {error}") from error
            log.warning("serving with the slower kernels in torch: %s", error)
            return load_kernels("reference")
    return load_kernels(DEVICES[device.type])
