"""Agents on a real engine, beside what a replay says of them."""
