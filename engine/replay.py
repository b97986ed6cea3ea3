"""A recorded run again: the same messages to a new scheduler, which must make the same plans."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from motet.engine.core import handle
from motet.engine.messages import StepFinished
from motet.engine.plan import StepPlan
from motet.engine.recording import VERSION, Recording, Turn, fingerprint
from motet.engine.scheduler import Scheduler
from motet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Replayed:
    """One turn of a recording, made again."""

    turn: Turn
    plan: StepPlan
    scheduler: Scheduler
    """As it is after the turn; it goes on with the next one."""

    @property
    def is_same(self) -> bool:
        return fingerprint(self.plan) == self.turn.plan


def replay(file: BinaryIO) -> Iterator[Replayed]:
    """Make every turn again. Raises ConfigError for what is no recording of this version.

    Ends at a turn that was cut off, as by a crash, and after one whose plan is another: what came
    of the recorded plan says nothing about this one.
    """
    frames = _frames(file)
    scheduler = _header(next(frames, b"")).spec.make()
    decoder = msgspec.msgpack.Decoder(Turn)
    for frame in frames:
        turn = decoder.decode(frame)
        handle(scheduler, turn.messages, turn.now)
        replayed = Replayed(turn, scheduler.plan(), scheduler)
        if turn.result is not None and replayed.is_same:
            scheduler.handle(StepFinished(turn.result, turn.now))
        yield replayed
        if not replayed.is_same:
            return


def _header(frame: bytes) -> Recording:
    try:
        recording = msgspec.msgpack.decode(frame, type=Recording)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"this is no recording: {error}") from error
    if recording.version != VERSION:
        raise ConfigError(
            f"the recording is of version {recording.version}: this motet replays {VERSION}"
        )
    return recording


def _frames(file: BinaryIO) -> Iterator[bytes]:
    while len(length := file.read(4)) == 4:
        num_bytes = int.from_bytes(length, "little")
        frame = file.read(num_bytes)
        if len(frame) < num_bytes:
            return
        yield frame
