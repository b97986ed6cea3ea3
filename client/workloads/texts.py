"""Names for passages of text that nobody has written yet."""

from itertools import count

from motet.client.workloads.trace import Passage


class Texts:
    """Every passage it gives out is another text."""

    def __init__(self) -> None:
        self._hash_ids = count(1)

    def new(self, num_tokens: int) -> Passage:
        return Passage(next(self._hash_ids), num_tokens)
