"""What comes to the engine from other threads."""

import queue

from motet.engine.messages import Message


class Inbox:
    """Messages in the order in which they came. Anybody may put, one thread takes."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def put(self, message: Message) -> None:
        self._queue.put(message)

    def take(self, wait_s: float | None) -> list[Message]:
        """All that have come. Waits for the first, at most so many seconds (None: for ever)."""
        messages: list[Message] = []
        try:
            messages.append(self._queue.get(timeout=wait_s))
            while True:
                messages.append(self._queue.get_nowait())
        except queue.Empty:
            return messages
