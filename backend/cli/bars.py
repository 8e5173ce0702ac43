"""Bar plots of counts over time: in the terminal, and as SVG. Starts come as (seconds since the first, number)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from xml.sax.saxutils import escape

BLOCKS = " ▁▂▃▄▅▆▇█"
COLUMNS = 68
ROWS = 8
WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 40
STEPS = (1, 2, 5, 10)


class Series(NamedTuple):
    """Starts in buckets of equal width; what is not among them is 0."""

    begin: datetime
    end: datetime
    bucket: timedelta
    starts: Sequence[tuple[datetime, int]]


def columns(series: Series, number: int) -> list[int]:
    """Reduce to at most so many columns; each has the most that one of its buckets has, so that no peak is lost."""
    buckets = max(1, -(-(series.end - series.begin) // series.bucket))
    number = min(number, buckets)
    heights = [0] * number
    for at, starts in series.starts:
        place = (at - series.begin) // series.bucket * number // buckets
        heights[place] = max(heights[place], starts)
    return heights


def terminal_plot(series: Series) -> list[str]:
    """Draw lines of at most 80 columns."""
    heights = columns(series, COLUMNS)
    top = max(heights, default=0)
    lines = []
    for row in range(ROWS, 0, -1):
        label = str(top) if row == ROWS else "0" if row == 1 else ""
        cells = "".join(_cell(height, top, row) for height in heights)
        lines.append(f"{label:>8} │{cells}".rstrip())
    return [*lines, f"{'':>8} └{'─' * len(heights)}", _time_axis(series, len(heights))]


def _cell(height: int, top: int, row: int) -> str:
    """Choose the block of a row: its eighth parts that are filled; what is above 0 is always seen."""
    eighths = -(-height * ROWS * 8 // top) - (row - 1) * 8 if top else 0
    return BLOCKS[min(max(eighths, 0), 8)]


def _time_axis(series: Series, width: int) -> str:
    first, last = _label(series.begin), _label(series.end)
    return f"{'':>10}{first}{last:>{max(width - len(first), len(last) + 2)}}"


def _label(when: datetime) -> str:
    return when.strftime("%m-%d %H:%M")


def svg_plot(series: Series, title: str) -> str:
    """Draw a picture that stands for itself; it follows light and dark."""
    heights = columns(series, WIDTH - LEFT - RIGHT)
    top = ceiling(max(heights, default=0))
    bars = "".join(_bar(place, height, len(heights), top) for place, height in enumerate(heights) if height)
    lines = "".join(_level(level, top) for level in range(0, top + 1, max(1, top // 4)))
    marks = "".join(_mark(series, place) for place in range(5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" '
        f'font-size="12"><title>{escape(title)}</title><style>svg{{background:#fff;fill:#24292f}}.l{{stroke:#d0d7de}}'
        f".b{{fill:#0969da}}@media(prefers-color-scheme:dark){{svg{{background:#0d1117;fill:#e6edf3}}"
        f'.l{{stroke:#30363d}}.b{{fill:#58a6ff}}}}</style><text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>'
        f'{lines}<g class="b">{bars}</g>{marks}</svg>\n'
    )


def ceiling(number: int) -> int:
    """Round up to 1, 2 or 5 times a power of ten that is a multiple of four parts where it can be.

    >>> [ceiling(n) for n in (0, 3, 7, 12, 167, 1001)]
    [4, 4, 8, 12, 200, 2000]
    """
    if number <= 20:
        return max(4, -(-number // 4) * 4)
    power = int(10 ** (len(str(number)) - 1))
    return next(step * power for step in STEPS if step * power >= number)


def _bar(place: int, height: int, number: int, top: int) -> str:
    step = (WIDTH - LEFT - RIGHT) / number
    size = max(1.0, height / top * (HEIGHT - TOP - BOTTOM))
    return (
        f'<rect x="{LEFT + place * step:.1f}" y="{HEIGHT - BOTTOM - size:.1f}" '
        f'width="{max(step - (1 if step > 3 else 0), 1):.1f}" height="{size:.1f}"/>'
    )


def _level(level: int, top: int) -> str:
    y = HEIGHT - BOTTOM - level / top * (HEIGHT - TOP - BOTTOM)
    return (
        f'<line class="l" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{level}</text>'
    )


def _mark(series: Series, place: int) -> str:
    at = series.begin + (series.end - series.begin) * place / 4
    x = LEFT + (WIDTH - LEFT - RIGHT) * place / 4
    anchor = "start" if place == 0 else "end" if place == 4 else "middle"
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="{anchor}">{_label(at)}</text>'
