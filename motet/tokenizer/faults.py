"""What `tokenizers` raises, which has no class of its own, and panics where a file is damaged."""

from collections.abc import Iterator
from contextlib import contextmanager


class LibraryFault(Exception):
    """In one line, what the library says."""


@contextmanager
def library_faults() -> Iterator[None]:
    """Raises LibraryFault for whatever the library raises within."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic is no Exception
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise LibraryFault(reason) from error
