"""`motet chat`: once, through a pipe, and with a person at a terminal."""

import io
import sys
import time
from collections.abc import Iterator

import pytest

from motet.commands.chat import talk
from tests.cli.chat_server import KEY, ChatServer, chat_server
from tests.cli.commands import Commands, Ended
from tests.cli.terminal import Terminal


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture
def say(motet: Commands, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> "Say":
    return Say(motet, server, monkeypatch)


class Say:
    """Runs `motet chat` with lines from a pipe."""

    def __init__(
        self, motet: Commands, server: ChatServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._motet, self._server, self._monkeypatch = motet, server, monkeypatch

    def __call__(self, lines: str, *options: object) -> Ended:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return self._motet.run("chat", "--base-url", self._server.url, *options)


def test_one_prompt_gets_one_answer(say: Say) -> None:
    assert say("", "--prompt", "Hi") == Ended(0, "base 1 Hi\n", "")


def test_a_pipe_gets_answers_only_and_what_was_said_is_remembered(say: Say) -> None:
    assert say("Hi\n\nAnd now?") == Ended(0, "base 1 Hi\nbase 3 And now?\n", "")


def test_options_reach_the_server(say: Say, server: ChatServer) -> None:
    options = ("--temperature", 0, "--max-tokens", 5, "--seed", 7, "--model", "tuned")
    assert say("", "--prompt", "Hi", "--system", "Be brief.", *options).out == "tuned 2 Hi\n"
    [request] = server.requests
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (request["temperature"], request["max_tokens"], request["seed"]) == (0, 5, 7)


def test_what_is_not_given_is_left_to_the_server(say: Say, server: ChatServer) -> None:
    say("", "--prompt", "Hi")
    assert set(server.requests[0]) == {"model", "messages", "stream"}


def test_commands_change_the_chat(say: Say) -> None:
    ended = say("a\n/model tuned\nb\n/reset\nc\n/models\n/quit\nnever said\n")
    assert ended == Ended(0, "base 1 a\ntuned 3 b\ntuned 1 c\n  base\n* tuned\n", "")


def test_help_lists_every_command(say: Say) -> None:
    out = say("/help\n").out
    assert [line.split()[0] for line in out.splitlines()] == [
        "/model",
        "/models",
        "/reset",
        "/help",
        "/quit",
    ]


def test_a_message_may_begin_with_a_slash_after_a_space(say: Say) -> None:
    assert say(" /quit\n").out == "base 1  /quit\n"


@pytest.mark.parametrize(
    ("lines", "code", "expected"),
    [
        ("/nonsense\n", 2, ["there is no command /nonsense", "/help"]),
        ("/model\n", 2, ["/model needs a name"]),
        ("/model other\nHi\n", 1, ["404", "no model other"]),
    ],
)
def test_the_first_error_ends_a_pipe(lines: str, code: int, expected: list[str], say: Say) -> None:
    ended = say(lines + "never said\n")
    assert (ended.code, ended.out) == (code, "")
    for text in expected:
        assert text in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--temperature", "3"], "--temperature is 3.0: it must be 0 to 2"),
        (["--max-tokens", "0"], "--max-tokens is 0"),
        (["--api-key", "schlüssel"], "--api-key has characters"),
        (["--base-url", "http://127.0.0.1:9"], "no answer from http://127.0.0.1:9"),
        (["--base-url", "nonsense"], "--base-url"),
    ],
)
def test_bad_options(options: list[str], expected: str, motet: Commands) -> None:
    ended = motet.run("chat", "--prompt", "x", *options)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err


def test_the_key_may_stand_in_the_environment(
    motet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(api_key=KEY) as server:
        arguments = ("chat", "--prompt", "Hi", "--base-url", server.url)
        refused = motet.run(*arguments)
        assert refused.code == 2
        assert "wrong key: check --api-key" in refused.err
        monkeypatch.setenv("MOTET_API_KEY", KEY)
        assert motet.run(*arguments).out == "base 1 Hi\n"


@pytest.fixture(params=[False, True], ids=["", "ignored by who started it"])
def terminal(server: ChatServer, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal("chat", "--base-url", server.url, is_ctrl_c_ignored=request.param)
    yield terminal
    terminal.close()


def test_ctrl_c_ends_the_answer_and_ctrl_d_the_chat(terminal: Terminal) -> None:
    terminal.read_until("> ")
    terminal.type("slow\n")
    terminal.read_until("wait")
    terminal.type("\x03")
    terminal.read_until("> ")
    terminal.type("/nonsense\n")
    terminal.read_until("error: there is no command /nonsense")
    terminal.read_until("> ")
    terminal.type("more\n")
    terminal.read_until("base 3 more")  # the cut answer is part of the conversation
    terminal.read_until("> ")
    terminal.type("\x04")
    assert terminal.wait() == 0


def test_ctrl_c_at_any_moment_leads_back_to_the_prompt(terminal: Terminal) -> None:
    terminal.read_until("> ")
    for moment in range(30):
        terminal.type("slow\n")
        terminal.read_until("slow\r\n")
        time.sleep(moment * 0.0005)  # before the answer begins, and after
        terminal.type("\x03")
        terminal.read_until("> ")
    terminal.type("/reset\n")
    terminal.read_until("> ")
    terminal.type("more\n")
    terminal.read_until("base 1 more")


def test_ctrl_c_drops_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[str | type[BaseException]] = ["a", KeyboardInterrupt, "b", EOFError, "never read"]
    events = iter(typed)

    def read(prompt: str) -> str:
        event = next(events)
        if isinstance(event, str):
            return event
        raise event

    monkeypatch.setattr("builtins.input", read)
    lines: list[str] = []

    def handle(line: str) -> bool:
        lines.append(line)
        return True

    talk(handle, "Hello.")
    assert lines == ["a", "b"]
