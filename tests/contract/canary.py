"""A request whose tokens are known, asked while others misbehave."""

from typing import Any

import httpx

WISH: dict[str, Any] = {
    "model": "tuned",
    "prompt": [7, 5, 3, 9],
    "max_tokens": 40,
    "temperature": 1.0,
    "seed": 17,
    "ignore_eos": True,
    "return_token_ids": True,
}


class Canary:
    """Asks the same again and again."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/completions"
        self._expected = self._ask()
        self.num_checks = 0

    def check(self) -> None:
        """Fails when any token differs from those of the first answer."""
        assert self._ask() == self._expected
        self.num_checks += 1

    def _ask(self) -> list[int]:
        answer = httpx.post(self._url, json=WISH, timeout=60)
        assert answer.status_code == 200, answer.text
        tokens: list[int] = answer.json()["choices"][0]["token_ids"]
        assert len(tokens) == WISH["max_tokens"]
        return tokens
