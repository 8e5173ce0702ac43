"""Ids of schedules, made of what a crontab says of its jobs. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import count

LONGEST_SLUG = 60

_REDIRECTION = re.compile(r"\d*&?>.*", re.DOTALL)


def make_ids(labels: Sequence[str], prefix: str) -> list[str]:
    """Make readable ids of names or commands; where several are alike, the later ones are numbered from 2."""
    taken: dict[str, None] = {}
    seen: Counter[str] = Counter()
    for label in labels:
        base = prefix + (slug(label) or "job")
        seen[base] = next(n for n in count(seen[base] + 1) if _numbered(base, n) not in taken)
        taken[_numbered(base, seen[base])] = None
    return list(taken)


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}-{number}"


def slug(text: str) -> str:
    """Shorten a name or a command to what an id may hold: no folders, no redirections.

    >>> slug("/usr/local/bin/backup.sh --full > /dev/null 2>&1"), slug("Prüfe täglich")
    ('backup.sh-full', 'prufe-taglich')
    """
    words = (word.rstrip("/").rpartition("/")[2] for word in _REDIRECTION.sub("", text).split())
    plain = unicodedata.normalize("NFKD", " ".join(words)).encode("ascii", "ignore").decode().lower()
    pieces = re.findall(r"[a-z0-9._]+", plain)
    kept = ""
    for piece in pieces:
        if len(kept) + 1 + len(piece) > LONGEST_SLUG:
            break
        kept = f"{kept}-{piece}"
    return (kept or "-".join(pieces)[:LONGEST_SLUG]).strip("-._")
