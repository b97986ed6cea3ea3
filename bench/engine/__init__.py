"""The engine without a server: what a step takes, by rows, adapters and ranks."""
