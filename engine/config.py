"""Every option of the engine, once: the command line, environment and docs derive from here."""

import math
import reprlib
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from motet.errors import ConfigError
from motet.memory.eviction import EVICTION

UNIFIED = "unified"
"""`pool_split` where nothing is set apart."""

MAX_NAME_LENGTH = 512
"""Characters that `model` may have in a request."""


def option(
    default: Any,
    help: str,
    *,
    least: int = 1,
    most: int | None = None,
    choices: tuple[str, ...] | None = None,
    is_secret: bool = False,
) -> Any:
    """A config field with its one-line description.

    With `most`, an integer from `least` to that; with `choices`, one of them. No secret is ever
    shown.
    """
    metadata = {"help": help, "least": least, "most": most, "choices": choices}
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Bounded:
    """Options that are checked when they are given."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a number that is out of bounds and for an unknown choice."""
        for item in fields(self):
            value, flag = getattr(self, item.name), f"--{item.name.replace('_', '-')}"
            least, most = item.metadata["least"], item.metadata["most"]
            if most is not None and value is not None and not least <= value <= most:
                raise ConfigError(f"{flag} is {reprlib.repr(value)}: it must be {least} to {most}")
            choices = item.metadata["choices"]
            if choices is not None and value not in choices:
                names = " or ".join(choices)
                raise ConfigError(f"{flag} is {reprlib.repr(value)}: it must be {names}")


@dataclass(frozen=True, slots=True)
class ModelConfig(Bounded):
    """Which model, in which number format, on which device."""

    device: str = option("auto", "auto, cpu or cuda.")
    dtype: str = option("auto", "auto (the checkpoint's), float32, bfloat16 or float16.")
    max_model_len: int | None = option(
        None,
        "Longest prompt plus output in tokens; default: what the model was made for.",
        most=2**31,
    )
    deterministic: bool = option(
        False,
        "Compute each answer alike in every bit, whatever else runs; for CPUs, somewhat slower.",
    )
    threads: int | None = option(
        None,
        "Threads that compute on a CPU; default: OMP_NUM_THREADS, at most the cores it may use.",
        most=2**12,
    )


@dataclass(frozen=True, slots=True)
class PoolConfig(Bounded):
    """The one pool that holds KV cache and adapters, and the memory behind it."""

    pool_bytes: int | None = option(
        None,
        "Size of the page pool, such as 512MiB or 8GiB; default: what memory allows.",
        most=2**60,
    )
    page_tokens: int | None = option(
        None,
        "Tokens per page (block size); default: 16, or more where an adapter tile needs it.",
        most=2**16,
    )
    host_bytes: int | None = option(
        None,
        "Host memory for what the pool has no room for, such as 16GiB; 0: only for adapters on "
        "their way; default: a share of what is free.",
        least=0,
        most=2**60,
    )
    link_gbps: float | None = option(
        None,
        "Copy between host and pool no faster than so many gigabits per second, each way: a "
        "simulated link, to study memory on a CPU.",
    )
    pool_split: str = option(
        UNIFIED,
        "unified: KV and adapters share the pool; or the fraction that is for adapters alone, such "
        "as 0.3, to compare with engines that divide it.",
    )

    eviction: str = option(
        "distance_cost",
        "What goes first when room is needed: state of the agent that will call last (and of that "
        "the cheapest to restore), or the least recently used.",
        choices=tuple(EVICTION),
    )
    prefetch: str = option(
        "on", "on: bring what agents will need before they call; off.", choices=("on", "off")
    )

    @property
    def adapter_share(self) -> float | None:
        """Of the pool, where it is split."""
        return None if self.pool_split == UNIFIED else float(self.pool_split)

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        if self.pool_split != UNIFIED and not _is_fraction(self.pool_split):
            raise ConfigError(
                f"--pool-split is {reprlib.repr(self.pool_split)}: give {UNIFIED}, or the fraction "
                "for adapters, above 0 and below 1, such as 0.3"
            )
        if self.link_gbps is not None and not 0 < self.link_gbps < math.inf:
            raise ConfigError(
                f"--link-gbps is {self.link_gbps}: give gigabits per second above 0, such as 8 "
                "for a gigabyte per second"
            )


def _is_fraction(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class BatchConfig(Bounded):
    """Limits of one step. Buffers for it are allocated at the start: hence the bounds."""

    max_batch_tokens: int = option(2048, "Most tokens computed in one step.", most=2**18)
    max_batch_rows: int = option(256, "Most sequences running at once (max_num_seqs).", most=2**14)
    max_batch_adapters: int = option(64, "Most distinct adapters running at once.", most=2**12)
    max_lora_rank: int = option(256, "Largest rank of an adapter, 1 to 256.", most=256)
    scheduling: str = option(
        "fcfs",
        "Whose turn it is. fcfs: who came first; program: whoever belongs to the agent or program "
        "that came first.",
        choices=("fcfs", "program"),
    )


@dataclass(frozen=True, slots=True)
class RecordConfig(Bounded):
    """What is kept of a run."""

    record: str | None = option(
        None,
        "Write all that the engine is told to this file, prompts as token ids included, so that "
        "the run can be looked into later.",
    )


@dataclass(frozen=True, slots=True)
class EngineConfig:
    model: str
    """Directory of the base model in Hugging Face format."""
    adapters: tuple[tuple[str, str], ...] = ()
    """(name, PEFT directory) of each adapter."""
    model_config: ModelConfig = field(default_factory=ModelConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    optional_adapters: frozenset[str] = frozenset()
    """Names of the adapters that are not opened before the first request on them."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("the model is '': give a Hugging Face model directory")
        counts = Counter(name for name, _ in self.adapters)
        for name, count in counts.items():
            check_name("the name of an adapter", name)
            if ":" in name:
                raise ConfigError(
                    f"the name of an adapter is {reprlib.repr(name)}: "
                    "choose one without ':', which requests use in 'base:adapter'"
                )
            if count > 1:
                raise ConfigError(f"adapter name '{name}' is given twice: choose another name")


def check_name(what: str, name: str) -> None:
    """Raise ConfigError unless requests can name a model so, and people can read it."""
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        raise ConfigError(
            f"{what} is {reprlib.repr(name)}: give 1 to {MAX_NAME_LENGTH} printable characters"
        )
