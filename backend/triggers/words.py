"""The words that descriptions share."""

from __future__ import annotations

from collections.abc import Sequence

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
ORDINALS = ("last", "first", "second", "third", "fourth", "fifth")


def join(words: Sequence[str]) -> str:
    """List words as a person does.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def runs(words: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """Shorten three or more neighbours to `first to last`."""
    said: list[str] = []
    begin = 0
    for at in range(1, len(words) + 1):
        if at < len(words) and numbers[at] == numbers[at - 1] + 1:
            continue
        said += words[begin:at] if at - begin < 3 else [f"{words[begin]} to {words[at - 1]}"]
        begin = at
    return said


def plural(values: Sequence[int], unit: str) -> str:
    """Name numbers of a unit.

    >>> plural([1, 2, 3, 7], "day")
    'days 1 to 3 and 7'
    """
    words = runs([str(value) for value in values], values)
    return f"{unit}{'s' if len(values) > 1 else ''} {join(words)}"


def months(numbers: Sequence[int]) -> str:
    """Name months, 1 to 12."""
    return join(runs([MONTHS[number - 1] for number in numbers], numbers))


def weekdays(numbers: Sequence[int]) -> list[str]:
    """Name weekdays, Sunday being 0; a week is told from Monday on."""
    values = sorted(numbers, key=lambda day: (day - 1) % 7)
    return runs([WEEKDAYS[day] for day in values], [(day - 1) % 7 for day in values])


def clock(second: int) -> str:
    """Write the time of day of a local second.

    >>> clock(32400), clock(1)
    ('09:00', '00:00:01')
    """
    minutes, second = divmod(second % 86400, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}" if second else f"{hour:02}:{minute:02}"
