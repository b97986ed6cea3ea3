"""Where a text ends: at the stop string that is complete first."""

from collections.abc import Sequence


class StopStrings:
    """Passes text through up to the stop string that is complete first.

    What may be the beginning of a stop string is held back, so the text that leaves does not
    depend on how the text that enters is cut into pieces.
    """

    def __init__(self, stops: Sequence[str], *, keep_match: bool = False) -> None:
        """`keep_match` ends the text after the stop string, not before it."""
        self._stops = stops
        self._keep_match = keep_match
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that is safe to show. After a match: nothing."""
        if self.matched is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, start, self.matched = min(found)
            self._held = ""
            return text[: end if self._keep_match else start]
        shown = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """What was held back, when no more text follows."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest beginning of `stop`, but not all of it, that ends `text`."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
