"""The bytes behind the accounting: arenas, host images and copies."""
