"""Bars as SVG: shares and ratios, with a line where they are 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LABEL_WIDTH, AXIS_WIDTH, TEXT_WIDTH = 300, 420, 130
BAR, GAP, TOP = 14, 8, 70
TICKS = 0.25
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Of the series in turn; told apart by the colour-blind too (Okabe and Ito, 2008)."""


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    """Bars that follow each other with the same one stand together."""
    series: str
    """Has a colour of its own."""
    value: float
    text: str
    """Stands beside it."""


def bars_svg(title: str, bars: Sequence[Bar], *, most: float, footer: Sequence[str]) -> str:
    """The axis goes from 0 to `most`; what is larger is cut there, and its text says how large."""
    series = list(dict.fromkeys(bar.series for bar in bars))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(series)}
    scale = AXIS_WIDTH / most
    body, y, label = [], TOP, None
    for bar in bars:
        if bar.label != label:
            label, y = bar.label, y + GAP
            body.append(_text(LABEL_WIDTH - 8, y + BAR - 3, label, anchor="end"))
        width = max(0.0, min(bar.value, most)) * scale
        body.append(_rect(LABEL_WIDTH, y, width, BAR - 1, colours[bar.series]))
        body.append(_text(LABEL_WIDTH + width + 4, y + BAR - 3, bar.text))
        y += BAR
    ticks = [
        part
        for step in range(int(most / TICKS) + 1)
        for part in _tick(step * TICKS, LABEL_WIDTH + step * TICKS * scale, y)
    ]
    keys = [
        part
        for index, name in enumerate(series)
        for part in (
            _rect(LABEL_WIDTH + 140 * index, 30, BAR - 2, BAR - 2, colours[name]),
            _text(LABEL_WIDTH + 140 * index + 18, 40, name),
        )
    ]
    notes = [_text(8, y + 40 + 16 * index, line) for index, line in enumerate(footer)]
    height, width = y + 40 + 16 * len(footer), LABEL_WIDTH + AXIS_WIDTH + TEXT_WIDTH
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
    )
    heading = f'<text x="8" y="18" font-size="14" fill="#222">{escape(title)}</text>'
    background = _rect(0, 0, width, height, "#fff")
    return "\n".join([head, background, heading, *keys, *ticks, *body, *notes, "</svg>\n"])


def _tick(value: float, x: float, bottom: float) -> tuple[str, str]:
    colour = "#222" if value == 1 else "#ddd"
    line = f'<path d="M{x:.1f} {TOP}V{bottom:.1f}" stroke="{colour}"/>'
    return line, _text(x, TOP - 6, f"{value:g}", anchor="middle")


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{width:.1f}" height="{height:g}"'
    return f'<rect x="{x:g}" y="{y:g}" {size} fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}" fill="#222">{escape(text)}</text>'
