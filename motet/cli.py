"""The command line. Each command imports what it runs when it runs."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import motet
from motet import demo
from motet.bench.config import LoadConfig
from motet.bench.replay.config import ArmsConfig, SettingConfig, TraceConfig
from motet.commands.adapters_config import AdaptersConfig
from motet.commands.configurable import ConfigurableCommand
from motet.commands.options import options_from_fields
from motet.commands.settings import ChatConfig, ConnectionConfig, TopConfig
from motet.engine import Engine
from motet.engine.config import BatchConfig, ModelConfig, PoolConfig, RecordConfig
from motet.engine.core import EngineCore
from motet.errors import ConfigError, EngineFailed, ServerError
from motet.server.http.config import ServerConfig
from motet.server.text.format_config import FormatConfig

app = typer.Typer(help=motet.__doc__, add_completion=False, pretty_exceptions_enable=False)
adapter_commands = typer.Typer()
app.add_typer(adapter_commands, name="adapters", help="List, check, load and unload adapters.")
bench = typer.Typer()
app.add_typer(bench, name="bench", help="Measure a running server.")

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        envvar="MOTET_MODEL",  # options have theirs by themselves
        help="Directory of the model in Hugging Face format, or its hub id; "
        "default: the one that comes with motet, in eight voices.",
    ),
]


def main() -> None:
    """Run a command. What goes wrong is one line on stderr: of the operator's, exit code 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        _fail(error.format_message())
    except ConfigError as error:
        _fail(str(error))
    except (ServerError, EngineFailed) as error:
        _fail(str(error), code=1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _fail(message: str, code: int = 2) -> None:
    print(f"motet: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


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


@app.command(
    cls=ConfigurableCommand, epilog="Example: motet serve ./llama --adapter sql=./sql-adapter"
)
@options_from_fields
def serve(
    adapters: AdaptersConfig,
    formats: FormatConfig,
    server: ServerConfig,
    model_config: ModelConfig,
    pool: PoolConfig,
    batch: BatchConfig,
    record: RecordConfig,
    model: ModelArgument = None,
) -> None:
    """Serve a model and its LoRA adapters over an OpenAI-compatible API."""
    import uvloop

    from motet import hub
    from motet.formats import try_formats
    from motet.loading_bars import LoadingBars
    from motet.server import launch
    from motet.server.text.given_formats import GivenFormats

    given = adapters.read()
    config = demo.engine_config(model, given.adapters, model_config, pool, batch, given.optional)
    config = replace(config, record=record)
    if server.served_model_name is None:
        server = replace(server, served_model_name=hub.repository_of(config.model))
    server.model_name(config.model, dict(config.adapters))  # a clash is known before all else
    given_formats = GivenFormats.read(formats, dict(config.adapters))
    with launch.listen(server) as listener:
        config = hub.fetch(config)
        try_formats(given_formats, config)
        bars = LoadingBars()

        def load() -> EngineCore:
            from motet.engine.start.build import build  # takes seconds: in the engine's thread

            return build(config, bars.progress)

        serving = launch.serve(Engine(load), server, listener, bars, given_formats, given.places)
        uvloop.run(serving)


@app.command(cls=ConfigurableCommand, epilog="Example: motet plan ./llama --pool-bytes 8GiB")
@options_from_fields
def plan(
    adapters: AdaptersConfig,
    model_config: ModelConfig,
    pool: PoolConfig,
    batch: BatchConfig,
    model: ModelArgument = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what would fit into memory, without loading anything."""
    from motet import hub
    from motet.commands.plan import show_plan

    given = adapters.read()
    config = demo.engine_config(model, given.adapters, model_config, pool, batch, given.optional)
    show_plan(hub.fetch(config), as_json=json)


@app.command(cls=ConfigurableCommand, epilog="Example: motet tune ./llama")
@options_from_fields
def tune(
    model_config: ModelConfig,
    pool: PoolConfig,
    batch: BatchConfig,
    model: ModelArgument = None,
) -> None:
    """Measure what copies and prompts take here; engines then decide by that."""
    from motet import hub
    from motet.commands.tune import run_tune

    run_tune(hub.fetch(demo.engine_config(model, (), model_config, pool, batch)))


@app.command(cls=ConfigurableCommand, epilog="Example: motet chat --model sql --temperature 0")
@options_from_fields
def chat(connection: ConnectionConfig, config: ChatConfig) -> None:
    """Chat with a running server; from a pipe, each line is one message."""
    from motet.commands.chat import run_chat

    run_chat(connection, config)


@adapter_commands.command("ls", cls=ConfigurableCommand, epilog="Example: motet adapters ls")
@options_from_fields
def adapters_ls(connection: ConnectionConfig) -> None:
    """List the adapters of a running server, and where they are."""
    from motet.commands.running_adapters import list_adapters

    list_adapters(connection)


AdapterName = Annotated[str, typer.Argument(metavar="NAME", help="What requests call it.")]


@adapter_commands.command(
    "load", cls=ConfigurableCommand, epilog="Example: motet adapters load sql ./sql-adapter"
)
@options_from_fields
def adapters_load(
    name: AdapterName,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A PEFT LoRA directory where the server takes adapters from: see --adapter-dir "
            "and --allow-adapter-path.",
        ),
    ],
    connection: ConnectionConfig,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Take the place of the adapter of this name.")
    ] = False,
    pin: Annotated[bool, typer.Option("--pin", help="Keep it on the device.")] = False,
) -> None:
    """Let a running server read an adapter and serve it."""
    from motet.commands.running_adapters import load_adapter

    load_adapter(connection, name, path, in_place=in_place, is_pinned=pin)


@adapter_commands.command(
    "unload", cls=ConfigurableCommand, epilog="Example: motet adapters unload sql"
)
@options_from_fields
def adapters_unload(name: AdapterName, connection: ConnectionConfig) -> None:
    """Take a name from a running server; requests that began on it end on it."""
    from motet.commands.running_adapters import unload_adapter

    unload_adapter(connection, name)


@adapter_commands.command("pin", cls=ConfigurableCommand, epilog="Example: motet adapters pin sql")
@options_from_fields
def adapters_pin(name: AdapterName, connection: ConnectionConfig) -> None:
    """Keep an adapter on the device of a running server."""
    from motet.commands.running_adapters import pin_adapter

    pin_adapter(connection, name, is_pinned=True)


@adapter_commands.command(
    "unpin", cls=ConfigurableCommand, epilog="Example: motet adapters unpin sql"
)
@options_from_fields
def adapters_unpin(name: AdapterName, connection: ConnectionConfig) -> None:
    """Let an adapter leave the device of a running server again."""
    from motet.commands.running_adapters import pin_adapter

    pin_adapter(connection, name, is_pinned=False)


@adapter_commands.command(
    "check",
    cls=ConfigurableCommand,
    epilog="Example: motet adapters check ./sql-adapter --model ./llama",
)
@options_from_fields
def adapters_check(
    directory: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="PEFT LoRA directories or hub ids.")
    ],
    model_config: ModelConfig,
    pool: PoolConfig,
    batch: BatchConfig,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model they are for: a directory or hub id; default: the one that comes "
            "with motet."
        ),
    ] = None,
) -> None:
    """Read adapters as strictly as a server does; exit code 1 if it would refuse any."""
    from motet import hub
    from motet.commands.adapters import check_adapters

    config = hub.fetch(demo.engine_config(model, (), model_config, pool, batch))
    raise typer.Exit(1 if check_adapters(config, directory) else 0)


@app.command(cls=ConfigurableCommand, epilog="Example: motet top --interval-seconds 0.5")
@options_from_fields
def top(connection: ConnectionConfig, config: TopConfig) -> None:
    """Watch a running server: whose the pages are, who waits, which adapters are in use."""
    from motet.commands.top import run_top

    run_top(connection, config)


@app.command(
    cls=ConfigurableCommand, epilog="Example: motet replay --workload town --agents 50 --steps 60"
)
@options_from_fields
def replay(
    trace: TraceConfig,
    setting: SettingConfig,
    arms: ArmsConfig,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TRACE]", help="File of a trace; default: a generated workload."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=A,B",
            help="Show how policies compare over values of activity, agents, steps, seed, "
            "pool-ratio, host-ratio or page-tokens; several names: all with all.",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result to this file too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the result: an SVG.")] = None,
    write_trace: Annotated[Path | None, typer.Option(help="Write the trace to this file.")] = None,
) -> None:
    """Compare memory policies on a trace of agents, on virtual time: no model, no accelerator."""
    from motet.bench.replay.command import Files, run_replay

    given = words or []
    axes = [*sweep.split(), *(word for word in given if "=" in word)] if sweep else []
    paths = [word for word in given if word not in axes]
    if len(paths) > 1:
        raise ConfigError(f"there is one trace more than can be run, {paths[1]}: give one")
    path = Path(paths[0]) if paths else None
    run_replay(trace, setting, arms, Files(path, json, plot, write_trace), axes)


@bench.command(
    "serve", cls=ConfigurableCommand, epilog="Example: motet bench serve --num-prompts 100"
)
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
