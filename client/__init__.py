"""Talks to a motet server."""
