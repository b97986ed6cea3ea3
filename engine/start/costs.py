"""What copying and computing take here: as `motet tune` has measured it, else as assumed."""

import hashlib
import logging
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from msgspec import Struct

from motet.engine.start.blueprint import Blueprint
from motet.errors import ConfigError
from motet.kernels.cpu.compiler import cache_folder, processor
from motet.memory.costs import Costs
from motet.memory.device.throttle import BYTES_PER_GIGABIT

log = logging.getLogger(__name__)


class Rates(Struct, frozen=True):
    """What decides `Costs`, whatever the pages and the link."""

    copy_bytes_per_s: float
    """Either way, the slower one."""
    copy_latency_s: float
    token_s: float


class Setting(Struct, frozen=True):
    """All that rates depend on."""

    base_model: str
    dtype: str
    device: str
    threads: int
    processor: str
    """SHA-256 of what tells it from others."""
    is_deterministic: bool


class Measured(Struct, frozen=True):
    """What is kept in the cache of the user, one file for each setting."""

    setting: Setting
    rates: Rates


@dataclass(frozen=True, slots=True)
class _Assumed:
    """Of a device that nobody has measured."""

    copy_bytes_per_s: float
    copy_latency_s: float
    flops_per_s: float
    """On a CPU those of one thread."""


ASSUMED = {
    "cpu": _Assumed(copy_bytes_per_s=4e9, copy_latency_s=5e-4, flops_per_s=4e10),
    "cuda": _Assumed(copy_bytes_per_s=2e10, copy_latency_s=1e-4, flops_per_s=2e14),
}
"""One thread that copies within memory beside others, with AVX2; PCIe 4 x16, half the peak of an
accelerator of 2023 in bf16."""


def costs_of(blueprint: Blueprint, base_model_id: str) -> Costs:
    """Those of this engine, once its threads are set."""
    pool = blueprint.config.pool
    rates = kept_rates(setting_of(blueprint, base_model_id)) or assumed_rates(blueprint)
    bytes_per_s = rates.copy_bytes_per_s
    if pool.link_gbps is not None:
        bytes_per_s = min(bytes_per_s, pool.link_gbps * BYTES_PER_GIGABIT)
    has_room = pool.host_bytes != 0  # else it is for adapters, which nobody could compute again
    return Costs(
        page_copy_s=blueprint.layout.page_bytes / bytes_per_s if has_room else math.inf,
        copy_latency_s=rates.copy_latency_s,
        token_s=rates.token_s,
    )


def assumed_rates(blueprint: Blueprint) -> Rates:
    """By the type of the device and the size of the model."""
    assumed, spec = ASSUMED[blueprint.device.type], blueprint.spec
    weights = spec.num_layers * sum(m.in_features * m.out_features for m in spec.layer_modules)
    return Rates(
        copy_bytes_per_s=assumed.copy_bytes_per_s,
        copy_latency_s=assumed.copy_latency_s,
        token_s=2 * weights / (assumed.flops_per_s * _threads(blueprint)),
    )


def setting_of(blueprint: Blueprint, base_model_id: str) -> Setting:
    """That of an engine, once its threads are set."""
    is_cuda = blueprint.device.type == "cuda"
    return Setting(
        base_model=base_model_id,
        dtype=blueprint.dtype_name,
        device=torch.cuda.get_device_name(blueprint.device) if is_cuda else "cpu",
        threads=_threads(blueprint),
        processor=hashlib.sha256(repr(processor()).encode()).hexdigest(),
        is_deterministic=blueprint.config.model_config.deterministic,
    )


def _threads(blueprint: Blueprint) -> int:
    """That compute, on a CPU; a GPU counts as one."""
    return torch.get_num_threads() if blueprint.device.type == "cpu" else 1


def keep_rates(setting: Setting, rates: Rates) -> Path:
    """In the cache, in place of older ones; returns the file. Raises ConfigError if it cannot."""
    path = _file(setting)
    content = msgspec.json.format(msgspec.json.encode(Measured(setting, rates)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)  # whoever looks sees all of it or nothing
    except OSError as error:
        raise ConfigError(
            f"what was measured cannot be kept in '{path}' ({error.strerror}): make room there, or "
            "set XDG_CACHE_HOME to another folder"
        ) from error
    return path


def kept_rates(setting: Setting) -> Rates | None:
    """Those that were measured in this setting, if any. A file that is wrong is no reason to
    fail: it is named in one warning."""
    path = _file(setting)
    try:
        measured = msgspec.json.decode(path.read_bytes(), type=Measured)
        fault = _fault(measured, setting)
    except (FileNotFoundError, NotADirectoryError):  # no cache is kept here
        return None
    except (OSError, ValueError) as error:  # msgspec's are ValueErrors
        fault = " ".join(str(error).split())
    if fault:
        log.warning("'%s' is ignored (%s): run motet tune again", path, fault)
        return None
    return measured.rates


def _fault(measured: Measured, setting: Setting) -> str | None:
    if measured.setting != setting:
        return "it was measured for something else"
    rates = measured.rates
    numbers = (rates.copy_bytes_per_s, rates.token_s)
    if not all(0 < number < math.inf for number in numbers) or not 0 <= rates.copy_latency_s < 60:
        return "its rates are not possible"
    return None


def _file(setting: Setting) -> Path:
    name = hashlib.sha256(msgspec.json.encode(setting)).hexdigest()[:16]
    return cache_folder() / f"costs-{name}.json"
