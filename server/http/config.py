"""Every option of the HTTP server, once."""

import ipaddress
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from motet.engine.config import Bounded, check_name, option
from motet.errors import ConfigError

KEY = re.compile(r"[\x21-\x7e]{1,512}")
ORIGIN = re.compile(r"\*|https?://[^/?#\s]+")
MAX_DRAIN_S = 3600


@dataclass(frozen=True, slots=True)
class ServerConfig(Bounded):
    """Where to listen, what to serve to whom, and how much of it."""

    host: str = option("127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    port: int = option(8000, "Port to listen on; 0 lets the system choose.")
    served_model_name: str | None = option(
        None, "Name of the base model in requests; default: the name of its directory."
    )
    api_key: tuple[str, ...] = option(
        (), "Key that requests must have; repeatable; default: none is needed.", is_secret=True
    )
    admin_api_key: tuple[str, ...] = option(
        (),
        "Key that loading, unloading and pinning adapters and emptying caches need; repeatable; "
        "without one, only clients of this machine may.",
        is_secret=True,
    )
    allowed_origin: tuple[str, ...] = option(
        (), "Origin of web pages that may read answers, * for all; repeatable; localhost always."
    )
    max_waiting: int = option(
        1000, "Most requests that wait for the engine; more are refused at once.", most=2**20
    )
    max_pushes_per_second: int = option(
        100, "Most pushes of distances and ticks of one key in a second.", most=2**20
    )
    max_hints_per_second: int = option(
        2_000_000, "Most agents that one key may name in hints in a second.", most=2**30
    )
    drain_seconds: float = option(
        5.0, "After a signal to stop, answers may go on this long before they are ended."
    )
    metrics_aliases: str = option(
        "vllm", "Show metrics under these names too: none or vllm.", choices=("none", "vllm")
    )
    generation_config: str = option(
        "none",
        "auto: sampling defaults from the model's generation_config.json; none: OpenAI's.",
        choices=("auto", "none"),
    )

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}: it must be 0 to 65535")
        if self.served_model_name is not None:
            check_name("--served-model-name", self.served_model_name)
        _check_keys("--api-key", self.api_key)
        _check_keys("--admin-api-key", self.admin_api_key)
        for origin in self.allowed_origin:
            if not ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"--allowed-origin is {reprlib.repr(origin)}: "
                    "give it as browsers do, such as https://example.org, or * for all"
                )
        if not 0 <= self.drain_seconds <= MAX_DRAIN_S:
            raise ConfigError(
                f"--drain-seconds is {self.drain_seconds}: it must be 0 to {MAX_DRAIN_S}"
            )

    @property
    def is_local(self) -> bool:
        """Whether only clients of this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, which may mean anything, except this one
            return self.host == "localhost"

    def model_name(self, model: str, adapter_names: Iterable[str]) -> str:
        """The name that requests use for the base model in the directory `model`.

        Raises ConfigError when requests cannot have it, or when an adapter has it too.
        """
        name = self.served_model_name or Path(model).resolve().name
        check_name("--served-model-name, by default the name of the directory,", name)
        if name in adapter_names:
            raise ConfigError(
                f"'{name}' is the name of the base model and of an adapter: "
                "choose another with --served-model-name"
            )
        return name


def _check_keys(flag: str, keys: Iterable[str]) -> None:
    for number, key in enumerate(keys, start=1):
        if not KEY.fullmatch(key):  # which is not shown: it may be one with a slip
            raise ConfigError(
                f"{flag} number {number} cannot be sent in a header: "
                "give 1 to 512 printable ASCII characters without spaces"
            )
