"""Serves the engine over HTTP in OpenAI's format."""
