"""Every option of the engine, once: the command line, environment and docs derive from here."""

from dataclasses import dataclass, field, fields
from typing import Any, cast

from motet.errors import ConfigError


def option(default: Any, help: str) -> Any:
    """A config field with its one-line description."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model, in which number format, on which device."""

    device: str = option("auto", "auto, cpu or cuda.")
    dtype: str = option("auto", "auto (the checkpoint's), float32, bfloat16 or float16.")
    max_model_len: int | None = option(
        None, "Longest prompt plus output in tokens; default: what the model was trained for."
    )


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """The one pool that holds KV cache and adapters."""

    pool_bytes: int | None = option(
        None, "Size of the page pool, such as 512MiB or 8GiB; default: what memory allows."
    )
    page_tokens: int | None = option(
        None, "Tokens per page; default: 16, or more where the largest adapter tile needs it."
    )


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """Limits of one step."""

    max_batch_tokens: int = option(2048, "Most tokens computed in one step.")
    max_batch_rows: int = option(256, "Most sequences running at once.")
    max_batch_adapters: int = option(64, "Most distinct adapters running at once.")
    max_lora_rank: int = option(256, "Largest rank of an adapter, 1 to 256.")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = cast(int, getattr(self, item.name))
            if value < 1:
                flag = item.name.replace("_", "-")
                raise ConfigError(f"--{flag} is {value}: it must be at least 1")
        if self.max_lora_rank > 256:
            raise ConfigError(f"--max-lora-rank is {self.max_lora_rank}: it must be at most 256")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    model: str
    """Directory of the base model in Hugging Face format."""
    adapters: tuple[tuple[str, str], ...] = ()
    """(name, PEFT directory) of each adapter."""
    model_config: ModelConfig = field(default_factory=ModelConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
