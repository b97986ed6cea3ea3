"""The adapters of a scripted core: as an engine answers commands, without any memory."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from motet.engine import Adapter, AdapterNews, AdapterStatus, Request, Residency, Standing
from motet.engine.messages import (
    AgentCommand,
    Call,
    Command,
    ListAdapters,
    LoadAdapter,
    PinAdapter,
    RegisterAdapter,
    Reply,
    ResetPrefixCache,
    UnloadAdapter,
)
from motet.errors import AdapterError, AdapterExists, ModelNotFound, MotetError
from motet.file_names import ADAPTER_CONFIG
from tests.server.scripted_agents import ScriptedAgents

Key = tuple[str, int]
AdapterCommand = (
    RegisterAdapter | LoadAdapter | UnloadAdapter | PinAdapter | ListAdapters | ResetPrefixCache
)


class ScriptedAdapters:
    """Generations by name. Loads wait as long as `holds_loads` is set."""

    def __init__(self, adapters: Iterable[Adapter]) -> None:
        self.holds_loads = False
        self.commands: list[Command] = []
        """Everything that was asked for, in order."""
        self.agents = ScriptedAgents()
        """They may have adapters."""
        self.faults: dict[str, MotetError] = {}
        """Path -> why it cannot be read."""
        self._known = {(a.name, a.generation): a for a in adapters}
        self._current = {name: generation for name, generation in self._known}
        self._pinned: set[Key] = set()
        self._in_use: Counter[Key] = Counter()
        self._last_generation = max((generation for _, generation in self._known), default=0)
        self._loading: list[Call] = []
        self._news: list[AdapterNews] = []

    @property
    def is_busy(self) -> bool:
        return bool(self._loading)

    def turn(self, calls: Sequence[Call]) -> tuple[tuple[Reply, ...], tuple[AdapterNews, ...]]:
        """Answers to what has come, now or earlier, and what has changed."""
        due = [*self._loading, *calls]
        for call in calls:
            if not isinstance(call.command, AgentCommand):
                self.commands.append(call.command)
        if self.holds_loads:
            self._loading = [call for call in due if isinstance(call.command, LoadAdapter)]
            due = [call for call in due if call not in self._loading]
        else:
            self._loading = []
        replies = tuple(map(self._answer, due))
        news, self._news = tuple(self._news), []
        return replies, news

    def begin(self, request: Request) -> str | None:
        """The digest of what the request runs on, which is read now at the latest."""
        self.agents.begin(request)
        if request.adapter is None:
            return None
        key = request.adapter.name, request.adapter.generation
        self._in_use[key] += 1
        adapter = self._known[key]
        if adapter.digest is None:
            self._known[key] = adapter = _read(adapter)
            is_current = self._current.get(key[0]) == key[1]
            standing = Standing.CURRENT if is_current else Standing.LEAVING
            self._news.append(AdapterNews(adapter, standing))
        return adapter.digest

    def end(self, request: Request) -> None:
        if request.adapter is not None:
            key = request.adapter.name, request.adapter.generation
            self._in_use[key] -= 1
            self._forget_unused(key)

    def _answer(self, call: Call) -> Reply:
        command = call.command
        if isinstance(command, AgentCommand):
            return self.agents.answer(call.call_id, command)
        try:
            found = self._carry_out(command)
        except MotetError as error:
            return Reply(call.call_id, str(error), type(error).__name__)
        return Reply(call.call_id, adapters=tuple(map(self._status, found)))

    def _carry_out(self, command: AdapterCommand) -> list[Key]:
        match command:
            case RegisterAdapter(adapter):
                return [self._bind(adapter, in_place=False)]
            case LoadAdapter(name, path, in_place, is_pinned):
                if path in self.faults:
                    raise self.faults[path]
                key = self._bind(_read(Adapter(name, None, 0, 0, 0, path)), in_place=in_place)
                if is_pinned:
                    self._pinned.add(key)
                return [key]
            case UnloadAdapter(name):
                self._leave(self._key(name))
                return []
            case PinAdapter(name, is_pinned):
                key = self._key(name)
                (self._pinned.add if is_pinned else self._pinned.discard)(key)
                return [key]
            case ListAdapters(after, limit, name):
                return [k for k in sorted(self._known) if k[0] > after and name in (None, k[0])][
                    :limit
                ]
            case ResetPrefixCache():
                return []

    def _bind(self, adapter: Adapter, *, in_place: bool) -> Key:
        if adapter.name in self._current:
            if not in_place:
                raise AdapterExists(f"adapter '{adapter.name}' is there")
            self._leave(self._key(adapter.name))
        self._last_generation += 1
        adapter = replace(adapter, generation=self._last_generation)
        key = adapter.name, adapter.generation
        self._known[key], self._current[key[0]] = adapter, key[1]
        self._news.append(AdapterNews(adapter, Standing.CURRENT))
        return key

    def _leave(self, key: Key) -> None:
        del self._current[key[0]]
        self._news.append(AdapterNews(self._known[key], Standing.LEAVING))
        self._forget_unused(key)

    def _forget_unused(self, key: Key) -> None:
        if key in self._known and self._current.get(key[0]) != key[1] and not self._in_use[key]:
            self._news.append(AdapterNews(self._known.pop(key), Standing.GONE))
            self._pinned.discard(key)

    def _key(self, name: str) -> Key:
        if name not in self._current:
            raise ModelNotFound(f"there is no adapter '{name}'")
        return name, self._current[name]

    def _status(self, key: Key) -> AdapterStatus:
        return AdapterStatus(
            self._known[key],
            Standing.CURRENT if self._current.get(key[0]) == key[1] else Standing.LEAVING,
            Residency.DUAL if self._known[key].digest else Residency.DISK,
            key in self._pinned,
            num_waiting=0,
            num_running=self._in_use[key],
            hits=3,
            loads=2,
            evictions=1,
        )


def _read(adapter: Adapter) -> Adapter:
    """Its content, as one file has it."""
    try:
        content = (Path(adapter.path) / ADAPTER_CONFIG).read_bytes()
        msgspec.json.decode(content)
    except (OSError, msgspec.DecodeError) as error:
        raise AdapterError(f"adapter '{adapter.path}' cannot be read: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    return replace(adapter, digest=digest, max_rank=8, num_pages=2)
