"""Reads the `curl` lines that motet prints."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Curl:
    """One line, as a shell reads it."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]

    def send(self) -> httpx.Response:
        return httpx.post(self.url, headers=self.headers, json=self.body, timeout=60)


def curls_in(text: str) -> Iterator[Curl]:
    """Every `curl URL -H HEADER ... -d BODY` in `text`."""
    for line in text.splitlines():
        _, is_curl, command = line.partition("curl ")
        if is_curl:
            url, *options = shlex.split(command)
            pairs = list(zip(options[::2], options[1::2], strict=True))
            headers = dict(value.split(": ", 1) for flag, value in pairs if flag == "-H")
            [body] = [value for flag, value in pairs if flag == "-d"]
            yield Curl(url, headers, json.loads(body))
