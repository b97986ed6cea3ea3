"""Serves the engine over HTTP in OpenAI's format: `http` asks `openai`, which asks `text`."""
