"""Every option of the load bench, once: the command line derives from here."""

from dataclasses import dataclass, fields
from typing import Literal

from motet.engine.config import option
from motet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """A closed loop: `concurrency` clients, each sending its next request when one is answered."""

    base_url: str = option("http://127.0.0.1:8000", "Server to measure.")
    api_key: str | None = option(None, "Key that the server asks for.")
    num_prompts: int = option(64, "Requests to send.")
    concurrency: int = option(8, "Requests in flight at once.")
    input_len: int = option(128, "Tokens of each prompt.")
    output_len: int = option(64, "Tokens of each answer, exactly.")
    model_order: Literal["round-robin", "random"] = option(
        "round-robin", "How requests choose among several models."
    )
    seed: int = option(0, "Seed of the prompts and of the random model order.")
    vocab_size: int | None = option(
        None, "Prompt token ids lie below it; default: what the server says."
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int) and item.name != "seed" and value < 1:
                flag = item.name.replace("_", "-")
                raise ConfigError(f"--{flag} is {value}: it must be at least 1")
