"""Tags on the command line: NAME=VALUE, or NAME:VALUE as the server writes them."""

from __future__ import annotations

import re

from backend.cli.failures import WrongUsage


def tag_parts(text: str) -> tuple[str, str]:
    """Read a tag; the first equals sign or colon ends its name.

    >>> tag_parts("team=growth"), tag_parts("url:http://x?a=b")
    (('team', 'growth'), ('url', 'http://x?a=b'))
    """
    name, *value = re.split("[=:]", text, maxsplit=1)
    if not (name and value):
        raise WrongUsage(f"--tag {text!r} is not of the form NAME=VALUE")
    return name, value[0]


def tag_filter(text: str | None) -> str | None:
    """Write a tag as the server's filters read it."""
    return None if text is None else ":".join(tag_parts(text))
