"""Everything about an engine that is decided before a weight is read."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

import torch

from motet.engine.config import EngineConfig
from motet.engine.models import ModelSpec, read_config
from motet.errors import ConfigError
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, PageLayout
from motet.memory.packing import Ranks, pack

log = logging.getLogger(__name__)

DEVICES = {"cpu": "cpu", "cuda": "triton"}
"""Device -> backend of its kernels."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

DEFAULT_PAGE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A configuration with every "auto" resolved."""

    config: EngineConfig
    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype
    max_model_len: int
    layout: PageLayout

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def geometry(self) -> AdapterGeometry:
        """Where adapters may sit, cut to fit the pages."""
        return AdapterGeometry(self.spec.modules, self.layout.tile_width)

    def adapter_pages(self, ranks: Ranks, rescaled: Collection[int] = ()) -> int:
        """Pages of an adapter of these ranks, with gains for the modules in `rescaled`."""
        layout = self.layout
        packing = pack(self.geometry, ranks, layout.elements, layout.align_elements, rescaled)
        return packing.num_pages

    def uniform_adapter_pages(self, rank: int) -> int:
        """Pages of an adapter of this rank on every linear layer but the head."""
        in_layers = self.spec.num_layers * len(self.spec.layer_modules)
        outside = len(self.spec.modules) - in_layers
        return self.adapter_pages((rank,) * in_layers + (0,) * outside)

    def num_pages(self, pool_bytes: int, largest_adapter: int) -> int:
        """Pages in a pool of this size, the largest adapter taking `largest_adapter` of them.

        Raises ConfigError unless they hold one sequence of max_model_len beside that adapter.
        """
        page_bytes = self.layout.page_bytes
        sequence = -(-self.max_model_len // self.layout.page_tokens)
        needed = sequence + largest_adapter
        if pool_bytes < needed * page_bytes:
            raise ConfigError(
                f"the pool of {pool_bytes} bytes is too small for one sequence of "
                f"{self.max_model_len} tokens ({sequence} pages) plus the largest adapter "
                f"({largest_adapter} pages): start with --pool-bytes {needed * page_bytes} or "
                "more, or with a lower --max-model-len or --page-tokens"
            )
        return pool_bytes // page_bytes

    def num_adapter_pages(self, num_pages: int, largest_adapter: int) -> int | None:
        """Of so many pages, those that are set apart for adapters; None where none are.

        Raises ConfigError unless both parts hold the largest of their kind.
        """
        share = self.config.pool.adapter_share
        if share is None:
            return None
        num_apart = round(share * num_pages)
        sequence = -(-self.max_model_len // self.layout.page_tokens)
        if num_apart < largest_adapter or num_pages - num_apart < sequence:
            raise ConfigError(
                f"--pool-split {share} of {num_pages} pages leaves {num_apart} to adapters and "
                f"{num_pages - num_apart} to KV: the largest adapter takes {largest_adapter}, a "
                f"sequence of {self.max_model_len} tokens {sequence}; give another fraction, more "
                "--pool-bytes or a lower --max-model-len"
            )
        return num_apart


def blueprint_of(config: EngineConfig) -> Blueprint:
    """Resolve a configuration, reading no more than the model's config files.

    Raises ConfigError, one line naming the option and the remedy, for what cannot work.
    """
    spec = read_config(config.model)
    dtype = _dtype(config.model_config.dtype, spec)
    device = _device(config.model_config.device)
    if config.model_config.deterministic and device.type != "cpu":
        raise ConfigError(f"--deterministic is for CPUs, not for {device}: add --device cpu")
    return Blueprint(
        config=config,
        spec=spec,
        device=device,
        dtype=dtype,
        max_model_len=_max_model_len(config.model_config.max_model_len, spec),
        layout=_layout(spec, dtype, config.pool.page_tokens),
    )


def _max_model_len(wanted: int | None, spec: ModelSpec) -> int:
    if wanted is None or wanted <= spec.max_positions:
        return wanted or spec.max_positions
    if spec.rope.num_positions is not None and wanted > spec.rope.num_positions:
        raise ConfigError(
            f"--max-model-len is {wanted}: the rotary embedding of this model changes with the "
            f"length of a text beyond {spec.rope.num_positions} tokens, set at most that"
        )
    log.warning(
        "--max-model-len is %d: the model was made for %d tokens, answers may be worse beyond them",
        wanted, spec.max_positions,
    )  # fmt: skip
    return wanted


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    if name not in DEVICES:
        raise ConfigError(f"--device is '{name}': choose auto or {' or '.join(DEVICES)}")
    if name == "cuda" and not has_cuda:
        raise ConfigError("--device is 'cuda', but torch finds no GPU: choose cpu")
    return torch.device(name)


def _dtype(name: str, spec: ModelSpec) -> torch.dtype:
    if name == "auto":
        return DTYPES[spec.dtype]
    if name not in DTYPES:
        raise ConfigError(f"--dtype is '{name}': choose auto or {' or '.join(DTYPES)}")
    return DTYPES[name]


def _layout(spec: ModelSpec, dtype: torch.dtype, page_tokens: int | None) -> PageLayout:
    """Pages of `page_tokens`, or of the default doubled until the largest adapter tile fits."""
    least = _least_page_tokens(spec, dtype)
    if page_tokens is None:
        page_tokens = DEFAULT_PAGE_TOKENS
        while page_tokens < least:
            page_tokens *= 2
    if page_tokens < least:
        raise ConfigError(
            f"--page-tokens is {page_tokens}: the largest adapter tile of this model needs pages "
            f"of at least {least} tokens"
        )
    return _layout_of(spec, dtype, page_tokens)


def _least_page_tokens(spec: ModelSpec, dtype: torch.dtype) -> int:
    one_token = _layout_of(spec, dtype, 1)
    align = one_token.align_elements
    widest = max(max(module.in_features, module.out_features) for module in spec.layer_modules)
    largest = -(-TILE_RANKS * widest // align) * align
    return -(-largest // one_token.elements)


def _layout_of(spec: ModelSpec, dtype: torch.dtype, page_tokens: int) -> PageLayout:
    return PageLayout(
        num_layers=spec.num_layers,
        page_tokens=page_tokens,
        num_kv_heads=spec.num_kv_heads,
        head_dim=spec.head_dim,
        element_bytes=dtype.itemsize,
    )
