"""Measures motet, from outside and from inside."""
