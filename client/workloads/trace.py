"""Traces: what agents ask, when, and when they truly ask again, as lines of JSON.

The first line is the header. Calls and pushes follow in order: of their step in a stepped world, a
step's push before its calls; of their arrival in a timed one.

A step is over when all its calls have finished. In time, a call is made at `arrival_s` or `delay_s`
after the last of the calls in `after` has finished, whichever is later; `delay_s` after the
beginning if there are none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from motet.errors import ConfigError

VERSION = 1
NEVER = -1
"""As a distance in a push: what was announced does not hold any more, and nothing else does."""

HashId = Annotated[int, Meta(ge=0, lt=2**53)]
NumTokens = Annotated[int, Meta(ge=1)]
CallId = Annotated[int, Meta(ge=0)]
Step = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Distance = Annotated[int, Meta(ge=NEVER)]


class Passage(Struct, frozen=True, array_like=True, gc=False):
    """The first `num_tokens` of the text that `hash_id` names: equal ids, equal tokens."""

    hash_id: HashId
    num_tokens: NumTokens


class AdapterShape(Struct, frozen=True, forbid_unknown_fields=True):
    """What an adapter has to look like to cost what it did."""

    rank: Annotated[int, Meta(ge=1)]
    targets: tuple[str, ...]


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the trace is of."""

    trace: int = VERSION
    workload: str
    seed: int = 0
    parameters: dict[str, Any] = {}
    """Of the workload, or what its reader found."""
    adapters: dict[str, AdapterShape] = {}
    """Every one that a call names."""
    steps: int | None = None
    """Of the world; None: it has time instead."""


class Call(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request of an agent. An agent's calls follow each other."""

    call_id: CallId = field(name="call")
    session: str
    agent: str
    program: str | None = None
    """What the call is a part of."""
    step: Step | None = None
    arrival_s: Seconds | None = None
    after: tuple[CallId, ...] = ()
    """Earlier calls, of this step or before, that must have finished."""
    delay_s: Seconds = 0.0
    prompt: Annotated[tuple[Passage, ...], Meta(min_length=1)]
    output: Passage
    """Later prompts repeat it."""
    adapter: str | None = None
    tool: str | None = None
    """What the agent does until its next call."""
    is_final: bool = field(name="final", default=False)
    """The agent will never call again, and knows it."""
    next_step: Step | None = None
    """The true one of the agent's next call; None: there is none in this trace."""
    next_s: Seconds | None = None
    """From the end of this call, where the next one waits for it, else from its arrival; exact
    where the next waits for nothing else, otherwise as if all other calls took no time."""
    hint: Seconds | None = None
    """What the agent announces at the end: steps from this step on, or seconds. None: unknown."""

    @property
    def num_prompt_tokens(self) -> int:
        return sum(passage.num_tokens for passage in self.prompt)


class Push(Struct, frozen=True, forbid_unknown_fields=True):
    """What the world announces when a step begins: steps from then on to the next call.

    Only of agents for whom it is not the distance announced last, in a push or by a hint, less the
    steps that have passed since, and never below 0.
    """

    push: Step
    distances: dict[str, Distance]
    """NEVER for an agent whose announced call will not come. Of others that are not expected to
    call, nothing is said at all."""


Line = Call | Push


@dataclass(frozen=True, slots=True)
class Trace:
    header: Header
    calls: tuple[Call, ...]
    pushes: tuple[Push, ...] = ()

    def lines(self) -> Iterator[Line]:
        """Calls and pushes in the order of the file."""
        pushes = list(reversed(self.pushes))
        for call in self.calls:
            while pushes and call.step is not None and pushes[-1].push <= call.step:
                yield pushes.pop()
            yield call
        yield from reversed(pushes)


def write_trace(trace: Trace, path: Path) -> None:
    """Raises ConfigError where the file cannot be written."""
    try:
        with path.open("wb") as file:
            file.writelines(encode_lines(trace.header, trace.lines()))
    except OSError as error:
        raise ConfigError(f"cannot write the trace {path}: {error.strerror}") from error


def read_trace(path: Path) -> Trace:
    """The whole of a file. Raises ConfigError, with the line."""
    calls: list[Call] = []
    pushes: list[Push] = []
    try:
        with path.open("rb") as file:
            header, lines = decode_lines(file, str(path))
            for line in lines:
                if isinstance(line, Call):
                    calls.append(line)
                else:
                    pushes.append(line)
    except OSError as error:
        raise ConfigError(f"cannot read the trace {path}: {error.strerror}") from error
    return Trace(header, tuple(calls), tuple(pushes))


def encode_lines(header: Header, lines: Iterable[Line]) -> Iterator[bytes]:
    """One by one, so that a trace need not fit into memory."""
    encoder = msgspec.json.Encoder()
    yield encoder.encode(header) + b"\n"
    for line in lines:
        yield encoder.encode(line) + b"\n"


def decode_lines(lines: Iterable[bytes], name: str) -> tuple[Header, Iterator[Line]]:
    """The header now, the rest as it is asked for. `name` is the file's, for errors."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (1, b""))
    try:
        header = msgspec.json.decode(first, type=Header)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{name}:{number}: no header of a trace ({error}): the first line must be "
            '{"trace": 1, "workload": ..., ...}'
        ) from error
    if header.trace != VERSION:
        raise ConfigError(
            f"{name}:{number}: the trace has version {header.trace}, and {VERSION} is read: "
            "write it anew with this motet"
        )
    return header, _body(numbered, header, name)


class _Kind(Struct, frozen=True):
    call: Any = None
    push: Any = None


def _body(numbered: Iterator[tuple[int, bytes]], header: Header, name: str) -> Iterator[Line]:
    kind_of = msgspec.json.Decoder(_Kind)
    call_of, push_of = msgspec.json.Decoder(Call), msgspec.json.Decoder(Push)
    order = _Order(header)
    for number, text in numbered:
        try:
            kind = kind_of.decode(text)
            if kind.call is None and kind.push is None:
                raise ConfigError("neither a call nor a push: begin the line with one of them")
            line = push_of.decode(text) if kind.call is None else call_of.decode(text)
            order.check(line)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{name}:{number}: {error}: correct this line") from error
        except ConfigError as error:
            raise ConfigError(f"{name}:{number}: {error}") from error
        yield line


class _Order:
    """Checks what one line alone does not show."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._calls: set[int] = set()
        self._step = 0
        self._pushed = -1
        self._arrival_s = 0.0

    def check(self, line: Line) -> None:
        if isinstance(line, Call):
            self._check_call(line)
        elif line.push <= self._pushed or line.push < self._step or self._header.steps is None:
            raise ConfigError(
                f"a push of step {line.push} cannot come here: write one for a step of a stepped "
                "world, before its calls"
            )
        else:
            self._pushed = self._step = line.push

    def _check_call(self, call: Call) -> None:
        if call.call_id in self._calls:
            raise ConfigError(f"there is a call {call.call_id} already: number calls in order")
        for earlier in call.after:
            if earlier not in self._calls:
                raise ConfigError(
                    f"call {call.call_id} comes after call {earlier}, which is not before it: "
                    "write that one first"
                )
        if call.adapter is not None and call.adapter not in self._header.adapters:
            raise ConfigError(
                f"call {call.call_id} is on adapter '{call.adapter}', of which the header says "
                "nothing: add its rank and targets there"
            )
        self._calls.add(call.call_id)
        self._check_time(call)

    def _check_time(self, call: Call) -> None:
        if (call.step is None) != (self._header.steps is None):
            raise ConfigError(
                f"call {call.call_id} has step {call.step} in a world of {self._header.steps} "
                "steps: give all of them steps, or none"
            )
        if call.step is not None and call.step >= (self._header.steps or 0):
            raise ConfigError(
                f"call {call.call_id} is of step {call.step}, and the header has "
                f"{self._header.steps} steps: give it more"
            )
        if call.step is not None and call.step < self._step:
            raise ConfigError(
                f"call {call.call_id} of step {call.step} comes after step {self._step}: "
                "sort calls by step"
            )
        if call.arrival_s is not None and call.arrival_s < self._arrival_s:
            raise ConfigError(
                f"call {call.call_id} arrives at {call.arrival_s} s, after one at "
                f"{self._arrival_s} s: sort calls by arrival"
            )
        self._step = self._step if call.step is None else call.step
        self._arrival_s = self._arrival_s if call.arrival_s is None else call.arrival_s
