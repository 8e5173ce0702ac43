"""What a person sees: aligned rows on stdout, failures on stderr; and JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

Json = dict[str, Any]

STATE_STYLES = {
    "active": "green",
    "succeeded": "green",
    "created": "green",
    "failed": "red",
    "timed_out": "red",
    "dead": "red",
    "error": "red",
    "deleted": "red",
    "paused": "yellow",
    "skipped": "yellow",
    "missed": "yellow",
    "cancelled": "yellow",
    "updated": "yellow",
    "retrying": "magenta",
    "running": "cyan",
    "queued": "cyan",
    "held": "cyan",
    "buffered": "cyan",
    "working": "green",
    "draining": "yellow",
    "silent": "red",
}
NARROWEST = 10
UNLIMITED = 100_000
INDENT = "    "


class Column(NamedTuple):
    """A column; a flexible one is cut where a terminal is too narrow, a `whole` one then stands beneath uncut."""

    title: str
    flexible: bool = False
    right: bool = False
    least: int = 0
    whole: bool = False


class Row(NamedTuple):
    """Cells, and a note that follows on the line if it fits and else on lines of its own."""

    cells: Sequence[str]
    note: str = ""


def clean(text: object) -> str:
    r"""Make control characters visible: what a target printed must not steer the terminal.

    >>> clean("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in str(text))


def one_line(text: object) -> str:
    """Put a text on one line."""
    return " ".join(clean(text).split())


def print_json(document: object, *, compact: bool = False) -> None:
    """Print one JSON document, in ASCII so that no terminal or pipe can spoil it."""
    print(json.dumps(document, indent=None if compact else 2), flush=compact)


def tell(answer: Json, words: Callable[[Json], None], *, as_json: bool) -> None:
    """Print an answer: as it is for a program, in `words` for a person."""
    if as_json:
        print_json(answer)
    else:
        words(answer)


def print_error(text: str) -> None:
    """Print a failure for a person."""
    sys.stdout.flush()
    console(sys.stderr).print(_styled(clean(text), "red"), soft_wrap=True)


def print_warnings(texts: Iterable[str]) -> None:
    """Print what a person may not expect, beside an answer that a program may read."""
    sys.stdout.flush()
    for text in texts:
        console(sys.stderr).print(_styled(one_line(f"warning: {text}"), "yellow"), soft_wrap=True)


def print_line(text: str, style: str = "") -> None:
    """Print one line for a person."""
    console().print(_styled(one_line(text), style), soft_wrap=True)


def print_text(text: str) -> None:
    """Print lines as they are."""
    console().print(_styled(clean(text), ""), soft_wrap=True)


def print_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print rows under their titles; nothing is cut unless a terminal is too narrow."""
    screen = console()
    print_rows(screen, columns, rows, title=True)


def print_rows(
    screen: Console, columns: Sequence[Column], rows: Sequence[Row], *, title: bool = False
) -> Sequence[Column]:
    """Print rows; answers the columns as wide as they are now, for rows that follow later."""
    width = _width(screen)
    shown = [Row([one_line(cell) for cell in row.cells], one_line(row.note)) for row in rows]
    wide = widths(columns, [row.cells for row in shown], width)
    if title:
        screen.print(_line(columns, [c.title for c in columns], wide, header=True), soft_wrap=True)
    for row in shown:
        line = _line(columns, row.cells, wide)
        for part in with_note(line.plain, _note(columns, row, wide), width):
            line.append(part, style="dim")
        line.rstrip()
        screen.print(line, soft_wrap=True)
    return [column._replace(least=size) for column, size in zip(columns, wide, strict=True)]


def _width(screen: Console) -> int:
    """Measure the terminal; without one, COLUMNS counts, and else nothing is cut."""
    return screen.width if screen.is_terminal else shutil.get_terminal_size((UNLIMITED, 0)).columns


def _note(columns: Sequence[Column], row: Row, wide: Sequence[int]) -> str:
    cut = [
        cell
        for column, cell, size in zip(columns, row.cells, wide, strict=True)
        if column.whole and cell_len(cell) > size
    ]
    return " — ".join([*cut, row.note] if row.note else cut)


def widths(columns: Sequence[Column], cells: Iterable[Sequence[str]], available: int) -> list[int]:
    """Choose each column's width: what it needs, less what the widest flexible ones can give up."""
    wide = [max(len(column.title), column.least) for column in columns]
    for row in cells:
        wide = [max(size, cell_len(cell)) for size, cell in zip(wide, row, strict=True)]
    excess = sum(wide) + 2 * (len(wide) - 1) - available
    while excess > 0:
        candidates = [i for i, column in enumerate(columns) if column.flexible and wide[i] > NARROWEST]
        if not candidates:
            break
        wide[max(candidates, key=lambda i: wide[i])] -= 1
        excess -= 1
    return wide


def with_note(line: str, note: str, available: int) -> list[str]:
    """Say what to append to a line for its note: behind it if it fits, else wrapped beneath, three lines at most."""
    if not note:
        return []
    if cell_len(line) + 2 + cell_len(note) <= available:
        return [f"  {note}"]
    room = max(available - len(INDENT), NARROWEST)
    return [f"\n{INDENT}{part}" for part in textwrap.wrap(note, room, max_lines=3, placeholder=" …")]


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "start"), counted(2, "start")
    ('1 start', '2 starts')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns; on a terminal, values wrap under themselves."""
    screen = console()
    indent = 2 + max((len(name) for name, _ in fields), default=0)
    room = max(_width(screen) - indent, NARROWEST)
    for name, value in fields:
        lines = [part for line in clean(value).splitlines() for part in textwrap.wrap(line, room) or [""]]
        text = Text().append(name.ljust(indent), style="dim")
        text.append(f"\n{' ' * indent}".join(lines), style=STATE_STYLES.get(value))
        screen.print(text, soft_wrap=True)


def console(stream: IO[str] | None = None) -> Console:
    """Open the terminal, or what takes its place; colour only where it is one."""
    return _Screen(file=stream or sys.stdout, highlight=False, markup=False, emoji=False)


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would exit with 1, which means that the server refused


def _styled(text: str, style: str) -> Text:
    return Text(text, style=style)


def _line(columns: Sequence[Column], cells: Sequence[str], wide: Sequence[int], *, header: bool = False) -> Text:
    line = Text()
    for number, (column, cell, size) in enumerate(zip(columns, cells, wide, strict=True)):
        part = Text(cell, style="bold" if header else STATE_STYLES.get(cell, ""))
        part.truncate(size, overflow="ellipsis")
        gap = " " * (size - part.cell_len)
        line.append("  " if number else "")
        line.append_text(Text(gap) + part if column.right else part + Text(gap))
    line.rstrip()
    return line
