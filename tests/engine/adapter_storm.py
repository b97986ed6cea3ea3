"""Adapters that come, change and go while they are in use."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from motet.engine.core import handle
from motet.engine.fake.disk import FakeDisk
from motet.engine.messages import (
    Call,
    Command,
    LoadAdapter,
    PinAdapter,
    RegisterAdapter,
    Reply,
    ResetPrefixCache,
    UnloadAdapter,
)
from motet.engine.output import TokenOutput
from motet.engine.scheduler import Scheduler
from motet.memory.adapter import Adapter, Standing

ADAPTER_EVENTS = (
    "reload in place",
    "unload",
    "load",
    "silent change",
    "vanished file",
    "prefix cache reset",
)
"""What is counted."""

MAX_SIZE = 5


@dataclass(slots=True)
class AdapterStorm:
    """Knows what each name means, as a server does, and what each content is."""

    scheduler: Scheduler
    disk: FakeDisk
    rng: random.Random
    names: list[str]
    probability: float = 0.08
    """Of an event in a turn."""
    current: dict[str, Adapter] = field(default_factory=dict)
    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    """Of each generation whose content is known."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Pages of each content that there ever was."""
    forced: Counter[str] = field(default_factory=Counter)
    unanswered: set[int] = field(default_factory=set)
    _outputs: list[TokenOutput] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Every name has a directory; nobody has read any of them."""
        for name in self.names:
            self._save(name)
            self.call(RegisterAdapter(Adapter(name, None, 0, 0, 0, f"/{name}")))

    def turn(self) -> None:
        """Perhaps something happens."""
        if self.rng.random() > self.probability:
            return
        name = self.rng.choice(self.names)
        often, rare = ADAPTER_EVENTS[:-1], ADAPTER_EVENTS[-1]
        match self.rng.choice([*often, *often, rare, "pin", "unpin"]):
            case "reload in place":
                self._save(name)
                self._count("reload in place", LoadAdapter(name, f"/{name}", in_place=True))
            case "unload":
                self._count("unload", UnloadAdapter(name))
            case "load":
                self._save(name)
                self._count("load", LoadAdapter(name, f"/{name}"))
            case "silent change":
                self.forced["silent change"] += 1
                self._save(name)
            case "vanished file":
                self.forced["vanished file"] += 1
                self.disk.remove(f"/{name}")
            case "prefix cache reset":
                self._count("prefix cache reset", ResetPrefixCache())
            case "pin":
                self.call(PinAdapter(name, True))
            case "unpin":
                for pinned in self.names:
                    self.call(PinAdapter(pinned, False))

    def call(self, command: Command) -> None:
        number = next(self._numbers)
        self.unanswered.add(number)
        outputs, replies = handle(self.scheduler, [Call(number, command)], self._now)
        self._outputs += outputs
        self.hear(replies)

    def hear(self, replies: list[Reply]) -> None:
        """And what has become of names since the last time."""
        for reply in replies:
            self.unanswered.remove(reply.call_id)  # exactly one
        self._learn()

    def take_outputs(self) -> list[TokenOutput]:
        """What requests have heard while commands were carried out."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def _learn(self) -> None:
        for news in self.scheduler.memory.registry.take_news():
            adapter = news.adapter
            key = (adapter.name, adapter.generation)
            if adapter.digest is not None:
                assert self.digests.setdefault(key, adapter.digest) == adapter.digest
            if news.standing is Standing.CURRENT:
                self.current[adapter.name] = adapter
            elif self.current.get(adapter.name) and self.current[adapter.name].generation == key[1]:
                del self.current[adapter.name]

    @property
    def _now(self) -> float:
        return self.scheduler.memory.copies.now

    def _count(self, event: str, command: Command) -> None:
        self.forced[event] += 1
        self.call(command)

    def _save(self, name: str) -> None:
        """As a trainer does: new content, now and then one that another name has as well."""
        if self.sizes and self.rng.random() < 0.1:
            digest = self.rng.choice(list(self.sizes))
        else:
            digest = f"{name}/{next(self._numbers)}"
            self.sizes[digest] = self.rng.randint(1, MAX_SIZE)
        self.disk.put(f"/{name}", digest, self.sizes[digest])
