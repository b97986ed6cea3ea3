"""A conversation: what was said so far, and how the next answer comes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from motet.client.client import Client
from motet.client.protocol import ChatMessage, ChatRequest
from motet.errors import ServerError


class Conversation:
    """Remembers both sides. `model` may change between messages."""

    def __init__(self, client: Client, request: ChatRequest) -> None:
        """`request` says how to answer; its messages are there before the conversation starts."""
        self.model = request.model
        self._client = client
        self._request = replace(request, stream=True)
        self._messages = request.messages

    def reset(self) -> None:
        """Forget what was said."""
        self._messages = self._request.messages

    async def say(self, text: str) -> AsyncGenerator[str]:
        """The answer in pieces. One that is cut short is remembered as far as it came.

        Raises ServerError; then this message was never said.
        """
        before = self._messages
        messages = [*before, ChatMessage(role="user", content=text)]
        request = replace(self._request, model=self.model, messages=messages)
        answer = ""
        try:
            async with aclosing(self._client.stream_chat(request)) as pieces:
                async for piece in pieces:
                    for content in (choice.delta.content for choice in piece.choices):
                        if content:
                            answer += content
                            said = ChatMessage(role="assistant", content=answer)
                            self._messages = [*messages, said]
                            yield content
        except ServerError:
            self._messages = before
            raise
