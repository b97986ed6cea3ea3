"""The text of one completion, while its tokens are generated."""

from motet.server.text.detokenizer import Detokenizer
from motet.server.text.stop_strings import StopStrings


class TextStream:
    """The text of one completion: detokenized, and cut at its first stop string."""

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings, min_tokens: int) -> None:
        """Text of the first `min_tokens` tokens is not searched for stop strings."""
        self._detokenizer = detokenizer
        self._stops = stops
        self._unsearched_tokens = min_tokens
        self.num_chars = 0
        """Decoded so far, with what is held back."""

    @property
    def matched(self) -> str | None:
        """The stop string that ended the text."""
        return self._stops.matched

    def push(self, token_id: int) -> str:
        """The text that is safe to show after this token."""
        text = self._detokenizer.push(token_id)
        self.num_chars += len(text)
        if self._unsearched_tokens > 0:
            self._unsearched_tokens -= 1
            return text
        return self._stops.push(text)

    def finish(self) -> str:
        """The rest, when no more tokens follow."""
        return self._stops.push(self._detokenizer.flush()) + self._stops.flush()
