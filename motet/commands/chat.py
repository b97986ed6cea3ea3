"""A chat in the terminal, or in a pipe."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from motet.client.chat import Conversation
from motet.client.client import Client
from motet.client.protocol import ChatMessage, ChatRequest
from motet.commands.connect import served_models
from motet.commands.interrupt import run_until_interrupted
from motet.commands.settings import ChatConfig, ConnectionConfig
from motet.errors import ConfigError, MotetError

PROMPT = "> "


def run_chat(connection: ConnectionConfig, config: ChatConfig) -> None:
    """Chat until the input ends.

    On a terminal errors are shown and Ctrl-C ends only the answer; otherwise nothing but answers
    is printed, and the first error ends the chat. Raises ConfigError and ServerError.
    """
    is_typed = sys.stdin.isatty()
    if is_typed:  # then Ctrl-C is meant for us, though whoever started us may have ignored it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    client = Client(connection.base_url, api_key=connection.api_key)
    with asyncio.Runner() as runner:  # one loop for the connections of all answers
        try:
            names = [model.id for model in run_until_interrupted(runner, served_models(client))]
            request = _request(config, names[0])
            chat = _Chat(runner, Conversation(client, request), names)
            if config.prompt is not None:
                chat.answer(config.prompt)
            elif is_typed:
                talk(chat.handle, f"Talking to {chat.model}. /help lists commands, Ctrl-D quits.")
            else:
                _answer_all(chat, sys.stdin)
        finally:
            runner.run(client.close())


def _request(config: ChatConfig, base_model: str) -> ChatRequest:
    given = {
        name: value
        for name in ("max_tokens", "temperature", "seed")
        if (value := getattr(config, name)) is not None
    }
    system = [] if config.system is None else [ChatMessage(role="system", content=config.system)]
    return ChatRequest(model=config.model or base_model, messages=system, **given)


def _answer_all(chat: "_Chat", lines: Iterable[str]) -> None:
    for line in lines:
        if not chat.handle(line.rstrip("\n")):
            return


def talk(handle: Callable[[str], bool], greeting: str) -> None:
    """Line by line with a person, until `handle` says that it is over, or Ctrl-D.

    Ctrl-C ends what `handle` does, or drops a line that is not finished.
    """
    with contextlib.suppress(ImportError):  # not every Python has it; lines are then plain
        import readline  # noqa: F401 (gives input() its editing)

    print(greeting)
    goes_on = True
    while goes_on:
        try:
            goes_on = handle(input(PROMPT))
        except EOFError:
            print()
            return
        except MotetError as error:
            print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print()


class _Chat:
    """What each line means: a command, or a message to be answered."""

    def __init__(
        self, runner: asyncio.Runner, conversation: Conversation, names: Sequence[str]
    ) -> None:
        self._runner = runner
        self._conversation = conversation
        self._names = names

    @property
    def model(self) -> str:
        return self._conversation.model

    def handle(self, line: str) -> bool:
        """Whether the chat goes on. Raises MotetError for what cannot be done."""
        word, _, argument = line.partition(" ")
        if word in COMMANDS:
            COMMANDS[word].run(self, argument.strip())
        elif word.startswith("/"):
            raise ConfigError(f"there is no command {word}: /help lists all; a space sends it")
        elif line.strip():
            self.answer(line)
        return word != QUIT

    def answer(self, text: str) -> None:
        """Print the answer as it comes."""
        run_until_interrupted(self._runner, self._print_answer(text))

    async def _print_answer(self, text: str) -> None:
        async with aclosing(self._conversation.say(text)) as pieces:
            async for piece in pieces:
                print(piece, end="", flush=True)
        print()

    def choose_model(self, name: str) -> None:
        if not name:
            raise ConfigError("/model needs a name: /models lists all")
        if name not in self._names:  # it may have come since, or be one the server finds by itself
            print(f"{name} was not listed by the server", file=sys.stderr)
        self._conversation.model = name

    def list_models(self, _: str) -> None:
        for name in self._names:
            print(f"{'*' if name == self.model else ' '} {name}")

    def reset(self, _: str) -> None:
        self._conversation.reset()

    def help(self, _: str) -> None:
        for word, command in COMMANDS.items():
            print(f"{word:<8} {command.help}")

    def quit(self, _: str) -> None:
        """`handle` says that it is over."""


@dataclass(frozen=True, slots=True)
class _Command:
    help: str
    run: Callable[[_Chat, str], None]


QUIT = "/quit"
COMMANDS = {
    "/model": _Command("NAME: let this model or adapter answer from now on", _Chat.choose_model),
    "/models": _Command("list what the server had when this chat began", _Chat.list_models),
    "/reset": _Command("forget what was said", _Chat.reset),
    "/help": _Command("list commands", _Chat.help),
    QUIT: _Command("end, as Ctrl-D does", _Chat.quit),
}
