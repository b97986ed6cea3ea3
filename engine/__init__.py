"""Decides what runs next and runs it."""
