"""Bars that show how far a model is loaded."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TimeRemainingColumn

from motet.errors import Unavailable


class LoadingBars:
    """One for each stage; on stderr, and only if that is a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            "{task.description:>8}",
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._stages: dict[str, TaskID] = {}
        self._is_closed = False

    def progress(self, stage: str, done: int, total: int) -> None:
        """Called where the engine is built. Raises Unavailable when there is no need to go on."""
        if self._is_closed:
            raise Unavailable("the server stopped while it was loading")
        if stage not in self._stages:
            self._bars.start()
            self._stages[stage] = self._bars.add_task(stage)
        self._bars.update(self._stages[stage], completed=done, total=total)

    def close(self) -> None:
        """Take the bars away; loading that still goes on ends at its next report of progress."""
        self._is_closed = True
        self._bars.stop()
