"""Reads the traces of Mooncake (github.com/kvcache-ai/Mooncake, FAST25-release/traces).

Lines of JSON: `timestamp` in ms, `input_length`, `output_length`, and `hash_ids` of the blocks of
512 tokens that the prompt consists of, the last one not full.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from motet.client.workloads.next_use import in_order
from motet.client.workloads.trace import Call, Header, Passage, Trace
from motet.errors import ConfigError

BLOCK_TOKENS = 512
OUTPUTS = 2**52
"""Hash ids of outputs, of which the trace says nothing, begin here."""


class _Row(Struct, frozen=True):
    timestamp: Annotated[float, Meta(ge=0)]
    input_length: Annotated[int, Meta(ge=0)]
    output_length: Annotated[int, Meta(ge=0)]
    hash_ids: list[Annotated[int, Meta(ge=0, lt=OUTPUTS)]]

    @property
    def prompt(self) -> tuple[Passage, ...]:
        *full, last = self.hash_ids
        rest = self.input_length - len(full) * BLOCK_TOKENS
        return (*(Passage(hash_id, BLOCK_TOKENS) for hash_id in full), Passage(last, rest))


def read_mooncake(path: Path) -> Trace:
    """Every request is an agent of its own: the trace does not tell who made it.

    What has no prompt or no output is left out, and counted as `skipped` in the header's
    parameters. Raises ConfigError, with the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read the trace {path}: {error.strerror}") from error
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    served = [row for row in rows if row.input_length and row.output_length]
    served.sort(key=lambda row: row.timestamp)
    calls = [_call(number, row, served[0].timestamp) for number, row in enumerate(served)]
    parameters = {"block_tokens": BLOCK_TOKENS, "skipped": len(rows) - len(served)}
    return Trace(Header(workload="mooncake", parameters=parameters), in_order(calls))


def _row(line: bytes, where: str) -> _Row:
    try:
        row = msgspec.json.decode(line, type=_Row)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{where}: no line of a Mooncake trace ({error}): it has timestamp, input_length, "
            "output_length and hash_ids"
        ) from error
    needed = -(-row.input_length // BLOCK_TOKENS)
    if len(row.hash_ids) != needed:
        raise ConfigError(
            f"{where}: {len(row.hash_ids)} hash_ids for an input_length of {row.input_length}: "
            f"give one for each {BLOCK_TOKENS} tokens, which are {needed}"
        )
    return row


def _call(number: int, row: _Row, begin_ms: float) -> Call:
    return Call(
        call_id=number,
        session=f"request-{number}",
        agent=f"request-{number}",
        arrival_s=round((row.timestamp - begin_ms) / 1000, 6),
        prompt=row.prompt,
        output=Passage(OUTPUTS + number, row.output_length),
    )
