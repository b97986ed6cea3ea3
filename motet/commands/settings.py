"""Every option of the commands that talk to a running server, once."""

from dataclasses import dataclass

from motet.engine.config import Bounded, option
from motet.errors import ConfigError

MAX_TEMPERATURE = 2
MAX_INTERVAL_S = 3600


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """Which server, and how to get in."""

    base_url: str = option("http://127.0.0.1:8000", "The running server.")
    api_key: str | None = option(None, "Key that the server asks for.", is_secret=True)

    def __post_init__(self) -> None:
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigError("--api-key has characters that no header can hold: give ASCII")


@dataclass(frozen=True, slots=True)
class ChatConfig(Bounded):
    """Who answers, and how."""

    model: str | None = option(None, "The base model or an adapter; default: the base model.")
    system: str | None = option(None, "What the model is told first.")
    prompt: str | None = option(None, "Say only this, print the answer and end.")
    max_tokens: int | None = option(
        None, "Longest answer in tokens; default: what the context has left.", most=2**31
    )
    temperature: float | None = option(
        None, "0 always takes the likeliest token; default: the server's."
    )
    seed: int | None = option(None, "Makes answers repeatable; default: random.")

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        if self.temperature is not None and not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"--temperature is {self.temperature}: it must be 0 to {MAX_TEMPERATURE}"
            )


@dataclass(frozen=True, slots=True)
class TopConfig(Bounded):
    """How often to look, and how much to show."""

    interval_seconds: float = option(1.0, "Time between two looks.")
    rows: int = option(20, "Adapters to show, the busiest first.", most=1000)
    once: bool = option(False, "Look once, print it and end.")

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        if not 0.1 <= self.interval_seconds <= MAX_INTERVAL_S:
            raise ConfigError(
                f"--interval-seconds is {self.interval_seconds}: it must be 0.1 to {MAX_INTERVAL_S}"
            )
