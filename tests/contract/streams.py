"""Streams of completions and of chat, read as whole answers."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

TOLERANCE = 1e-4
"""Of logprobs: batches of different shapes are computed in different orders."""

OF_ONE_ANSWER = ("id", "object", "created")
"""What two answers to one request need not have in common."""


def chunks_of(stream: str) -> list[Any]:
    """The data of all events before the last, which says that the stream is complete."""
    *events, done, rest = stream.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def as_whole(chunks: Sequence[Any]) -> dict[str, Any]:
    """The answer in pieces as one that was not streamed."""
    first: dict[str, Any] = chunks[0]
    pieces: dict[int, list[Any]] = {}
    for chunk in chunks:
        for name in ("id", "created", "model", "system_fingerprint"):
            assert chunk[name] == first[name]
        for piece in chunk["choices"]:
            pieces.setdefault(piece["index"], []).append(piece)
    assert not any("prompt_token_ids" in chunk for chunk in chunks[1:])
    choices = [_joined(pieces[index]) for index in sorted(pieces)]
    return first | {"choices": choices, "usage": chunks[-1]["usage"]}


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two answers say something else; what only one answer can have is left out."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            if path or name not in OF_ONE_ANSWER:
                yield from differences(one.get(name), other.get(name), f"{path}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif isinstance(one, float) and isinstance(other, float):
        if abs(one - other) > TOLERANCE:
            yield f"{path}: {one} and {other}"
    elif one != other:
        yield f"{path}: {one!r} and {other!r}"


def _joined(pieces: Sequence[Any]) -> dict[str, Any]:
    """The pieces of one choice; only the first says whose it is, only the last that it ends."""
    first, last = pieces[0], pieces[-1]
    for piece in pieces[:-1]:
        assert piece["finish_reason"] is piece["stop_reason"] is None
    for piece in pieces[1:]:
        assert "prompt_token_ids" not in piece
    whole: dict[str, Any] = last | _text(pieces) | {"logprobs": _logprobs(pieces)}
    if "token_ids" in first:
        whole["token_ids"] = [token for piece in pieces for token in piece["token_ids"]]
    if "prompt_token_ids" in first:
        whole["prompt_token_ids"] = first["prompt_token_ids"]
    whole.pop("delta", None)
    return whole


def _text(pieces: Sequence[Any]) -> dict[str, Any]:
    if "text" in pieces[0]:
        return {"text": "".join(piece["text"] for piece in pieces)}
    deltas = [piece["delta"] for piece in pieces]
    assert not any("role" in delta for delta in deltas[1:])
    content = "".join(delta.get("content", "") for delta in deltas)
    return {"message": {"role": deltas[0]["role"], "content": content, "refusal": None}}


def _logprobs(pieces: Sequence[Any]) -> dict[str, list[Any]] | None:
    known = [piece["logprobs"] for piece in pieces if piece["logprobs"] is not None]
    if not known:
        return None
    return {name: [entry for part in known for entry in part[name]] for name in known[0]}
