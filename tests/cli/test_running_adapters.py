"""`motet adapters` and `motet top` against a running server."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from motet.adapter_places import AdapterPlaces
from motet.client.protocol import (
    AdapterCounts,
    AdapterState,
    Memory,
    MovedPages,
    Pages,
    RequestCounts,
)
from motet.commands.settings import TopConfig
from motet.commands.top import MAX_BAR, Look, frame
from motet.engine import Adapter
from motet.errors import ConfigError
from motet.file_names import ADAPTER_CONFIG
from motet.server.http.config import ServerConfig
from tests.cli.commands import Commands
from tests.cli.scripted_server import scripted_server
from tests.cli.terminal import Terminal
from tests.cli.test_bad_input import assert_one_line
from tests.model_factory import make_tokenizer
from tests.server.scripted import ScriptedCore, an_info, says

KEY, ADMIN = "user-key", "admin-key"
DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def core(tmp_path: Path) -> ScriptedCore:
    tuned = Adapter("[bold]tuned", DIGEST, 1, 8, 1234, "/adapters/[bold]tuned")
    unread = Adapter("unread", None, 2, 0, 0, "/adapters/unread")
    info = an_info(make_tokenizer(tmp_path / "model"), adapters=(tuned, unread))
    return ScriptedCore(says(100), info)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    shelf = tmp_path / "shelf"
    (shelf / "new").mkdir(parents=True)
    (shelf / "new" / ADAPTER_CONFIG).write_text("{}")
    return shelf


@pytest.fixture
def url(core: ScriptedCore, shelf: Path) -> Iterator[str]:
    with scripted_server(core, places=AdapterPlaces(str(shelf))) as url:
        yield url


def test_adapters_of_a_server_are_listed(url: str, motet: Commands) -> None:
    ended = motet.run("adapters", "ls", "--base-url", url)
    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["name", "generation", "standing", "tier", "state", "rank", "pages", "digest", "path"],
        [
            *("[bold]tuned", "1", "current", "device", "dual", "8", "1,234"),
            *(DIGEST[:12], "/adapters/[bold]tuned"),
        ],
        ["unread", "2", "current", "disk", "disk", "-", "-", "-", "/adapters/unread"],
    ]


def test_a_path_is_no_markup_on_a_terminal(
    url: str, motet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    assert "/adapters/[bold]tuned" in motet.run("adapters", "ls", "--base-url", url).out


def test_an_adapter_is_loaded_pinned_and_unloaded(
    url: str, shelf: Path, motet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states() -> list[str]:
        listed = motet.run("adapters", "ls", "--base-url", url).out.splitlines()
        return [line.split("device")[0].split("disk")[0].strip() for line in listed[2:]]

    def run(*arguments: str) -> str:
        ended = motet.run("adapters", *arguments, "--base-url", url)
        assert (ended.code, ended.err) == (0, "")
        return ended.out

    monkeypatch.chdir(shelf)
    assert run("load", "x", "new", "--pin") == "loaded 'x'\n"  # a path of this machine
    assert run("unpin", "x") == "unpinned 'x'\n"
    assert run("pin", "x") == "pinned 'x'\n"
    listed = motet.run("adapters", "ls", "--base-url", url).out.splitlines()
    [line] = [line for line in listed if line.startswith("x ")]
    assert line.split()[:4] == ["x", "3", "current", "(pinned)"]
    assert run("load", "x", "new", "--in-place") == "loaded 'x'\n"
    assert run("unload", "x") == "unloaded 'x'\n"
    assert not any(line.startswith("x ") for line in states())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["load", "x", "/no/such"], "403: 'lora_path' is '/no/such'"),
        (["load", "x", "nobody"], "404: 'lora_path' is 'nobody'"),
        (["load", "unread", "new"], "400: The lora adapter 'unread' has already been loaded"),
        (["load", "a:b", "new"], "400: 'lora_name' is 'a:b'"),
        (["unload", "x"], "404: The lora adapter 'x' cannot be found"),
        (["pin", "a/b?c"], "404: the model 'a/b?c' does not exist"),
        (["unpin", "unreal"], "did you mean 'unread'"),
        (["load", "", "new"], "NAME is ''"),
    ],
)
def test_what_a_server_refuses_is_one_line(
    arguments: list[str], expected: str, url: str, motet: Commands
) -> None:
    assert_one_line(motet.run("adapters", *arguments, "--base-url", url), expected)


def test_without_a_server_there_is_a_remedy(motet: Commands) -> None:
    for arguments in (["adapters", "ls"], ["adapters", "unload", "x"], ["top", "--once"]):
        ended = motet.run(*arguments, "--base-url", "http://127.0.0.1:9")
        assert_one_line(ended, "start one, or check --base-url")


def test_a_server_with_keys_wants_the_right_one(core: ScriptedCore, motet: Commands) -> None:
    config = ServerConfig(served_model_name="base", api_key=(KEY,), admin_api_key=(ADMIN,))
    with scripted_server(core, config) as url:
        for command in (("adapters", "ls"), ("top", "--once"), ("adapters", "unload", "unread")):
            assert_one_line(motet.run(*command, "--base-url", url), "check --api-key")
        where = ("--base-url", url, "--api-key", KEY)
        assert motet.run("adapters", "ls", *where).code == 0
        assert_one_line(motet.run("adapters", "unload", "unread", *where), "--admin-api-key")
        where = ("--base-url", url, "--api-key", ADMIN)
        assert motet.run("adapters", "unload", "unread", *where).code == 0


def test_top_once_is_one_picture(url: str, motet: Commands) -> None:
    ended = motet.run("top", "--once", "--base-url", url)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["motet", "top", url]
    assert "0 running, 0 waiting, 0 of them for state" in ended.out
    assert "adapters    2 named, 0 leaving" in ended.out
    assert all(len(line) <= 80 for line in lines)
    assert "100 pages" in ended.out and "host        no pages" in ended.out
    assert "\x1b" not in ended.out
    assert [line.split()[:2] for line in lines[-2:]] == [
        ["[bold]tuned", "device"],
        ["unread", "disk"],
    ]


def test_ctrl_c_ends_top_and_leaves_the_terminal_as_it_was(url: str) -> None:
    terminal = Terminal("top", "--base-url", url, "--interval-seconds", "0.1", kind="xterm")
    try:
        terminal.read_until("\x1b[?1049h")  # a screen of its own
        terminal.read_until("2 named")
        terminal.read_until("MiB/s")  # the next picture
        terminal.type("\x03")
        terminal.read_until("\x1b[?1049l")
        assert terminal.wait() == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("interval_s", [0.0, -1.0, 3601.0, float("nan")])
def test_an_interval_has_bounds(interval_s: float) -> None:
    with pytest.raises(ConfigError, match="--interval-seconds is"):
        TopConfig(interval_seconds=interval_s)


def a_memory(pages: Pages, *, moved: int = 0) -> Memory:
    return Memory(
        page_bytes=1024**2,
        pages=pages,
        host=pages,
        requests=RequestCounts(running=1, waiting=2, waiting_for_state=1),
        adapters=AdapterCounts(current=3, leaving=1, loads=0, reads=0),
        moved=MovedPages(disk_to_host=moved, host_to_device=2 * moved, device_to_host=3 * moved),
    )


def drawn(look: Look, before: Look | None = None) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(frame("http://motet", look, before, console.width))
    return capture.get()


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0, 7), (7, 0, 0, 0, 0), (1, 1, 1, 1, 1), (0, 1, 999, 3, 0)]
)
def test_a_bar_has_a_letter_for_each_part_of_the_pages(counts: tuple[int, ...]) -> None:
    kv, adapter, transfer, quarantined, free = counts
    pages = Pages(
        total=sum(counts), free=free, kv=kv, adapter=adapter, transfer=transfer,
        quarantined=quarantined,
    )  # fmt: skip
    [line] = [
        x for x in drawn(Look(0.0, a_memory(pages), [])).splitlines() if x.startswith("device")
    ]
    bar = line.split()[1]
    assert len(bar) == MAX_BAR
    for letter, count in zip("KATQ.", counts, strict=True):
        assert abs(bar.count(letter) - count * MAX_BAR / sum(counts)) <= 1


def test_rates_are_of_a_second() -> None:
    pages = Pages(total=1, free=1, kv=0, adapter=0, transfer=0, quarantined=0)
    before = Look(10.0, a_memory(pages, moved=5), [])
    look = Look(12.0, a_memory(pages, moved=15), [])
    assert "MiB/s 10.0 to the device, 15.0 to the host, 5.0 from disk" in drawn(look, before)
    assert "MiB so far, 10.0 to the device, 15.0 to the host, 5.0 from disk" in drawn(before)


def test_a_simulated_link_is_called_so() -> None:
    pages = Pages(total=1, free=1, kv=0, adapter=0, transfer=0, quarantined=0)
    memory = a_memory(pages)
    simulated = msgspec.structs.replace(memory, simulated_link_gbps=8.0)
    assert "0.0 from disk; simulated link of 8 Gbit/s" in drawn(Look(0.0, simulated, []))
    assert "simulated" not in drawn(Look(0.0, memory, []))


def test_what_is_wrong_with_an_adapter_is_shown() -> None:
    pages = Pages(total=1, free=1, kv=0, adapter=0, transfer=0, quarantined=0)
    state = AdapterState(
        name="a", generation=4, digest=None, standing="leaving", state="disk", tier="disk",
        rank=None, pages=None, hits=0, loads=0, evictions=0, waiting=3, running=0, pinned=False,
        path="/a", last_error="it is no more",
    )  # fmt: skip
    shown = drawn(Look(0.0, a_memory(pages), [state]))
    assert "a@4 leaving" in shown and "it is no more" in shown
