"""The command line. Each command imports what it runs when it runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import motet
from motet.bench.config import LoadConfig
from motet.configurable import ConfigurableCommand
from motet.engine import Engine
from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.errors import ConfigError
from motet.options import options_from_fields
from motet.server.settings import ServerConfig

app = typer.Typer(help=motet.__doc__, add_completion=False, pretty_exceptions_enable=False)
bench = typer.Typer()
app.add_typer(bench, name="bench", help="Measure a running server.")


def main() -> None:
    """Run a command. What the operator got wrong is one line on stderr and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        _fail(error.format_message())
    except ConfigError as error:
        _fail(str(error))


def _fail(message: str) -> None:
    print(f"motet: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"motet {motet.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@app.command(cls=ConfigurableCommand)
@options_from_fields
def serve(
    model: Annotated[str, typer.Argument(help="Directory of the model, in Hugging Face format.")],
    server: ServerConfig,
    model_config: ModelConfig,
    pool: PoolConfig,
    batch: BatchConfig,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A PEFT LoRA directory to serve; repeatable."),
    ] = None,
) -> None:
    """Serve a model and its LoRA adapters over an OpenAI-compatible API."""
    import uvloop

    from motet.server import launch
    from motet.server.console import StartConsole

    adapters = tuple(_parse_adapter(text) for text in adapter or [])
    config = EngineConfig(model, adapters, model_config, pool, batch)
    server.model_name(model, dict(adapters))  # a clash is known before anything is loaded
    listener = launch.listen(server)
    console = StartConsole()

    def load() -> EngineCore:
        from motet.engine.device.build import build  # takes seconds: in the engine's thread

        return build(config, console.progress)

    uvloop.run(launch.serve(Engine(load), server, listener, console))


@bench.command("serve", cls=ConfigurableCommand)
@options_from_fields
def bench_serve(
    config: LoadConfig,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Name to send requests to; repeatable; default: the base model."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result to this file too.")] = None,
) -> None:
    """Send requests to a running server and report throughput and latencies."""
    from motet.bench import load

    num_failed = load.bench_serve(config, model or [], json)
    raise typer.Exit(1 if num_failed else 0)


def _parse_adapter(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not (name and path):
        raise ConfigError(f"--adapter is '{text}': give it as NAME=PATH")
    return name, path
