"""Every option of the HTTP server, once."""

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from motet.engine.config import check_name, option
from motet.errors import ConfigError

GENERATION_CONFIGS = ("auto", "none")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where to listen and under which name to serve."""

    host: str = option("127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    port: int = option(8000, "Port to listen on; 0 lets the system choose.")
    served_model_name: str | None = option(
        None, "Name of the base model in requests; default: the name of its directory."
    )
    generation_config: str = option(
        "none", "auto: sampling defaults from the model's generation_config.json; none: OpenAI's."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}: it must be 0 to 65535")
        if self.served_model_name is not None:
            check_name("--served-model-name", self.served_model_name)
        if self.generation_config not in GENERATION_CONFIGS:
            raise ConfigError(
                f"--generation-config is {reprlib.repr(self.generation_config)}: "
                f"it must be {' or '.join(GENERATION_CONFIGS)}"
            )

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
