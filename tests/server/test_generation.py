"""Outputs of the engine are taken together where they are together."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from motet.engine import FinishReason, TokenOutput
from motet.server.generation import coalesce

pytestmark = pytest.mark.anyio


def an_output(index: int, reason: FinishReason | None = None) -> TokenOutput:
    return TokenOutput("r", index, 5, finish_reason=reason)


class Outputs:
    """Yields at once what a burst holds, and waits between bursts."""

    def __init__(self, *bursts: int) -> None:
        self._bursts = bursts
        self.is_closed = False

    async def __call__(self) -> AsyncGenerator[TokenOutput, None]:
        index = 0
        try:
            for burst in self._bursts:
                await asyncio.sleep(0.001)
                for _ in range(burst):
                    index += 1
                    is_last = index == sum(self._bursts)
                    yield an_output(index, FinishReason.LENGTH if is_last else None)
        finally:
            self.is_closed = True


@pytest.mark.parametrize("bursts", [(1,), (3,), (1, 1, 1), (2, 3, 1), (1, 5)])
async def test_what_is_there_comes_together(bursts: tuple[int, ...]) -> None:
    outputs = Outputs(*bursts)
    batches = [batch async for batch in coalesce(outputs())]
    assert [len(batch) for batch in batches] == list(bursts)
    assert [output.index for batch in batches for output in batch] == [*range(1, sum(bursts) + 1)]
    assert outputs.is_closed


@pytest.mark.parametrize("bursts", [(2, 1), (1, 1), (1, 5)])
async def test_closing_early_closes_the_source(bursts: tuple[int, ...]) -> None:
    outputs = Outputs(*bursts)
    batches = coalesce(outputs())
    await anext(batches)
    await batches.aclose()
    await asyncio.sleep(0)
    assert outputs.is_closed
