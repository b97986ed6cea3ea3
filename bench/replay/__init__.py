"""Policies on virtual time: the real scheduler and memory manager, a trace, and a model of what
steps and copies cost."""
