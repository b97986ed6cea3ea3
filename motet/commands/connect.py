"""The first thing to ask a server: what it serves."""

from motet.client.client import Client, Model
from motet.errors import ConfigError, ServerError


async def served_models(client: Client) -> list[Model]:
    """The base model first. Raises ConfigError when there is no such server, or no way in."""
    try:
        models = await client.models()
    except ServerError as error:
        remedy = "check --api-key" if error.status == 401 else "start one, or check --base-url"
        raise ConfigError(f"{error}: {remedy}") from error
    if not models:
        raise ConfigError("the server serves no models: check --base-url")
    return models
