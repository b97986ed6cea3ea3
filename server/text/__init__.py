"""Prompts to requests of the engine, and its tokens back to text. Knows no HTTP."""
