"""The import rules, as a table. See docs/architecture.md, section 2."""

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEVICE = {"torch", "triton", "flashinfer", "transformers", "safetensors"}
CLOCKS = {"asyncio", "threading", "time"}
WEB = {"starlette", "fastapi", "uvicorn"}


@dataclass(frozen=True, slots=True)
class Part:
    may_import: set[str]
    """Parts of ours, besides itself and what is OPEN."""
    never: frozenset[str] | set[str] = frozenset()
    """Libraries."""


PARTS = {  # a file belongs to the longest path that contains it
    "kernels": Part(set()),
    "memory": Part(set(), never=DEVICE | CLOCKS),
    "memory/device": Part({"memory", "kernels"}),
    "engine": Part({"engine/engine.py", "memory"}, never=DEVICE | CLOCKS),
    "engine/engine.py": Part({"engine", "memory"}, never=DEVICE),
    "engine/models": Part({"memory", "memory/device", "kernels"}),
    "engine/device": Part({"engine", "engine/models", "memory", "memory/device", "kernels"}),
    "engine/start": Part(
        {"engine", "engine/models", "engine/device", "memory", "memory/device", "kernels"}
    ),
    "client": Part(set(), never=DEVICE),
    "client/protocol": Part(set(), never=DEVICE | {"httpx"}),
    "client/workloads": Part(set(), never=DEVICE | CLOCKS | {"httpx"}),
    "server/text": Part({"engine", "client/protocol"}, never=DEVICE - {"transformers"} | WEB),
    "server/openai": Part({"server/text", "engine", "client/protocol"}, never=DEVICE | WEB),
    "server/http": Part(
        {"server/text", "server/openai", "engine", "engine/engine.py", "client/protocol"},
        never=DEVICE,
    ),
}
PARTS["engine/fake"] = Part({"engine", "memory"}, never=DEVICE | CLOCKS)
PARTS["server"] = Part({"server/http", *PARTS["server/http"].may_import}, never=DEVICE)
PARTS["client"].may_import.add("client/protocol")
PARTS["bench"] = Part(set(PARTS))
PARTS["motet/tokenizer_config.py"] = Part({"memory/device"}, never=DEVICE)
PARTS["motet/tokenizer"] = Part(
    {"memory/device", "motet/tokenizer_config.py"}, never=DEVICE - {"transformers"}
)
PARTS["motet/pretrained.py"] = Part({"motet/tokenizer", "motet/tokenizer_config.py"}, never=DEVICE)
TOKENIZER = {"motet/pretrained.py", "motet/tokenizer", "motet/tokenizer_config.py"}
PARTS["engine/models"].may_import.update(TOKENIZER)
PARTS["server/text"].may_import.update(TOKENIZER)
PARTS["motet/chat_template.py"] = Part(
    {"motet/tokenizer_config.py"}, never=DEVICE - {"transformers"}
)
PARTS["engine/start"].may_import.add("motet/chat_template.py")
PARTS["server/text"].may_import.add("motet/chat_template.py")
PARTS["motet/hub.py"] = Part({"engine"}, never=DEVICE)
PARTS["motet/demo"] = Part({"engine"}, never=DEVICE)
PARTS["bench"].may_import.add("motet/demo")
PARTS["motet/loading_bars.py"] = Part(set(), never=DEVICE | WEB)
PARTS["server/http"].may_import.add("motet/loading_bars.py")
PARTS["server"].may_import.add("motet/loading_bars.py")
PARTS["bench"].may_import.add("motet/loading_bars.py")
PARTS["motet/adapter_places.py"] = Part(set(), never=DEVICE | WEB)
PARTS["server/http"].may_import.add("motet/adapter_places.py")
PARTS["server"].may_import.add("motet/adapter_places.py")
PARTS["motet/formats.py"] = Part({"engine", "engine/start", "server/text"}, never=DEVICE | WEB)
PARTS["motet/llm.py"] = Part(set(PARTS) - {"server", "server/http"}, never=DEVICE | WEB)
PARTS["motet/commands"] = Part(set(PARTS), never=DEVICE)
PARTS["motet/cli.py"] = Part(set(PARTS), never=DEVICE)
PARTS["motet/demo/make"] = Part({"motet/demo"})  # the last: nobody imports it


OPEN = {"motet/__init__.py", "motet/errors.py", "motet/file_names.py"}
"""May be imported by all, and belong to no part."""


def part_of(path: str) -> str | None:
    """The part that the file `path` belongs to, if it is one of ours."""
    inside = [part for part in PARTS if path == part or path.startswith(f"{part}/")]
    return max(inside, key=len, default=None)


def file_of(module: str) -> str:
    """`motet.memory.page` -> `memory/page.py`, and the same for a name in it."""
    parts = module.split(".")[1:]
    names = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    files = [*names, *(f"motet/{name}" for name in names)]
    paths = [path for file in files for path in (f"{file}.py", f"{file}/__init__.py")]
    return next((path for path in paths if (ROOT / path).exists()), "/".join(parts))


def imports(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom)]
    return names | {f"{n.level * '.'}{n.module}.{a.name}" for n in froms for a in n.names}


def is_allowed(name: str, part: str) -> bool:
    library = name.partition(".")[0]
    if library != "motet":
        return library not in {"", *PARTS[part].never}  # "" is a relative import
    target = part_of(file_of(name))
    return target in {None, part} | PARTS[part].may_import


def breaches(path: str, source: str) -> list[str]:
    part = part_of(path)
    assert part, f"{path} belongs to no part: add it to the table"
    return [f"{path} imports {name}" for name in imports(source) if not is_allowed(name, part)]


def test_every_file_imports_only_what_its_part_may() -> None:
    folders = {part.partition("/")[0] for part in PARTS}
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    files = [file for file in files if file.relative_to(ROOT).as_posix() not in OPEN]
    broken = [
        breach
        for file in files
        for breach in breaches(file.relative_to(ROOT).as_posix(), file.read_text())
    ]
    assert not broken, "\n".join(sorted(broken))


def folder_of(path: str) -> str:
    """A module of `motet/` stands for itself: some are open to all, some import everything."""
    folder = path.rpartition("/")[0]
    return path if folder == "motet" else folder


def cycle(edges: dict[str, set[str]]) -> list[str] | None:
    """Folders that import each other in a circle, if there are any."""
    left = {folder: set(targets) for folder, targets in edges.items()}
    while free := [f for f, targets in left.items() if not targets & left.keys()]:
        for folder in free:
            del left[folder]
    return sorted(left) or None


def test_no_folders_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for top in {part.partition("/")[0] for part in PARTS}:
        for file in (ROOT / top).rglob("*.py"):
            path = file.relative_to(ROOT).as_posix()
            ours = {file_of(n) for n in imports(file.read_text()) if n.startswith("motet.")}
            targets = {folder_of(path) for path in ours if "/" in path}
            edges.setdefault(folder_of(path), set()).update(targets - {folder_of(path)})
    assert cycle(edges) is None


def test_a_circle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": {"elsewhere"}}) is None


def test_the_table_sees_each_kind_of_breach() -> None:
    assert breaches("memory/page.py", "import torch")
    assert breaches("memory/page.py", "def f():\n    from time import monotonic")
    assert breaches("engine/scheduler.py", "import asyncio")
    assert breaches("engine/scheduler.py", "from motet.engine.models.inputs import StepInputs")
    assert breaches("engine/core.py", "from motet.engine.fake.executor import FakeExecutor")
    assert breaches("server/app.py", "from motet.memory.page import PagePool")
    assert breaches("server/app.py", "from motet.client.client import Client")
    assert breaches("server/app.py", "from motet.bench import load")
    assert breaches("server/app.py", "from motet import demo")
    assert breaches("motet/cli.py", "from motet.demo.make.train import make")
    assert breaches("server/text/prompts.py", "from motet.server.openai.wishes import wish_of")
    assert breaches("server/openai/wishes.py", "from motet.server.http.body import read_wish")
    assert breaches("server/openai/wishes.py", "from starlette.requests import Request")
    assert breaches("motet/llm.py", "from motet.server.http.body import read_wish")
    assert breaches("kernels/cpu.py", "from motet.memory.page import PageId")
    assert breaches("engine/plan.py", "from . import request")


def test_the_table_allows_what_it_should() -> None:
    assert not breaches("engine/engine.py", "import asyncio\nfrom motet.errors import Unavailable")
    assert not breaches("server/app.py", "from motet.engine.engine import Engine")
    assert not breaches("server/app.py", "from motet.client.protocol import ErrorBody")
    assert not breaches("memory/device/arena.py", "import torch\nfrom motet.memory import page")
