"""Questions to a server: what goes wrong becomes one line with a remedy."""

from collections.abc import Awaitable
from typing import TypeVar

from motet.client.client import Client, Model
from motet.errors import ConfigError, ServerError

SELF_EXPLAINING = {400, 403, 404, 413}
"""Answers of a server of ours that name what is wrong and what to do."""

T = TypeVar("T")


async def served_models(client: Client) -> list[Model]:
    """The base model first. Raises ConfigError when there is no such server, or no way in."""
    try:
        models = await client.models()
    except ServerError as error:
        raise _with_remedy(error) from error
    if not models:
        raise ConfigError("the server serves no models: check --base-url")
    return models


async def answered(question: Awaitable[T]) -> T:
    """What a server of ours answers. Raises ConfigError for what it refuses, and as above."""
    try:
        return await question
    except ServerError as error:
        if error.status in SELF_EXPLAINING:
            raise ConfigError(str(error)) from error
        raise _with_remedy(error) from error


def _with_remedy(error: ServerError) -> ConfigError:
    remedy = "check --api-key" if error.status == 401 else "start one, or check --base-url"
    return ConfigError(f"{error}: {remedy}")
