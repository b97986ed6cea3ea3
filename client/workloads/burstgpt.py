"""Reads the traces of BurstGPT (github.com/HPMLL/BurstGPT): CSV, by the names of its columns.

`Timestamp` in seconds, `Request tokens` and `Response tokens` are needed. Newer files also have a
`Session ID`, which names a conversation.
"""

import csv
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import NamedTuple

from motet.client.workloads.next_use import in_order
from motet.client.workloads.texts import Texts
from motet.client.workloads.trace import Call, Header, Passage, Trace
from motet.errors import ConfigError

NEEDED = ("Timestamp", "Request tokens", "Response tokens")
SESSION = "Session ID"


class _Row(NamedTuple):
    time_s: float
    input_tokens: int
    output_tokens: int
    session: str


def read_burstgpt(path: Path) -> Trace:
    """An agent is a conversation, or a single request. Prompts of a conversation repeat it, as far
    as they are long enough.

    Time counts from the first row. What has no prompt or no response, as where a service failed,
    is left out, and counted as `skipped` in the header's parameters. Raises ConfigError, with the
    line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _rows(file, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the trace {path}: {error}") from error
    rows.sort(key=lambda row: row.time_s)
    served = [row for row in rows if row.input_tokens and row.output_tokens]
    begin_s = rows[0].time_s if rows else 0.0
    parameters = {"skipped": len(rows) - len(served)}
    return Trace(Header(workload="burstgpt", parameters=parameters), _calls(served, begin_s))


def _rows(lines: Iterable[str], name: str) -> list[_Row]:
    reader = csv.DictReader(lines)
    try:
        missing = [column for column in NEEDED if column not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(
                f"{name}:1: the columns {', '.join(missing)} are missing: the first line must name "
                "them as BurstGPT does"
            )
        return [_row(row, f"{name}:{reader.line_num}") for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{name}:{reader.line_num}: {error}: correct this line") from error


def _row(row: dict[str, str | None], where: str) -> _Row:
    return _Row(
        time_s=_number(row, "Timestamp", where),
        input_tokens=int(_number(row, "Request tokens", where)),
        output_tokens=int(_number(row, "Response tokens", where)),
        session=(row.get(SESSION) or "").strip(),
    )


def _number(row: dict[str, str | None], column: str, where: str) -> float:
    text = row[column]
    try:
        number = float(text or "")
    except ValueError:
        number = -1.0
    if not 0 <= number < 2**53:
        raise ConfigError(f"{where}: {column} is '{text}': write a number, 0 or more")
    return number


def _calls(rows: list[_Row], begin_s: float) -> tuple[Call, ...]:
    texts, numbers = Texts(), count()
    said: dict[str, tuple[Passage, ...]] = {}
    calls = []
    for row in rows:
        number = next(numbers)
        prompt = _prompt(said.get(row.session, ()) if row.session else (), row.input_tokens, texts)
        output = texts.new(row.output_tokens)
        agent = f"session-{row.session}" if row.session else f"request-{number}"
        said[row.session] = (*prompt, output)
        calls.append(
            Call(
                call_id=number,
                session=agent,
                agent=agent,
                arrival_s=round(row.time_s - begin_s, 6),
                prompt=prompt,
                output=output,
            )
        )
    return in_order(calls)


def _prompt(said: tuple[Passage, ...], num_tokens: int, texts: Texts) -> tuple[Passage, ...]:
    """What was said in the conversation, and something new; all new where it would not fit."""
    rest = num_tokens - sum(passage.num_tokens for passage in said)
    return (*said, texts.new(rest)) if rest > 0 else (texts.new(num_tokens),)
