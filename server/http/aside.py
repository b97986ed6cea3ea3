"""Work that would hold up every stream, done beside the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

NUM_THREADS = 2
"""Few, so that long prompts cannot take all cores from the engine."""

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """A few threads; work waits for a free one."""

    def __init__(self, name: str = "motet-aside") -> None:
        self._threads = ThreadPoolExecutor(NUM_THREADS, name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns, or raises."""
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def run_if(
        self, is_long: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `work` returns, or raises: done at once, on the loop, if it is not long."""
        return await self.run(work, *args, **kwargs) if is_long else work(*args, **kwargs)

    def close(self) -> None:
        """Drop what waits; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
