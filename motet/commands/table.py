"""Tables: framed on a terminal, bare columns for other programs."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_pairs(title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Facts with their names; the title is for terminals only."""
    _print(Table(title=title, show_header=False), pairs)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under names of columns."""
    _print(Table(*header), rows)


def _print(table: Table, rows: Sequence[Sequence[str]]) -> None:
    console = Console()
    if console.is_terminal:
        for row in rows:
            table.add_row(*map(Text, row))  # names are no markup
        console.print(table)
        return
    header = [str(column.header) for column in table.columns]
    lines = [header, *rows] if table.show_header else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
