"""How every `check()` compares two views of one fact."""

from motet.errors import BrokenInvariant


def must_agree(what: str, one: object, other: object) -> None:
    """Raise BrokenInvariant unless the two are equal."""
    if one != other:
        raise BrokenInvariant(f"{what}: {one} by one count, {other} by the other")
