"""Takes the values of secrets out of what a target says, in the forms in which it is likely to say them.

It is done before anything is cut: of a value that is cut in two, neither half would be recognised.
"""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote, quote_plus

from backend.model.secret import Secret

SHORTEST = 4
"""Characters of a value that is taken out; what is shorter stands in any text by chance."""
SHORTEST_PART = 8
SHORTEST_INSIDE = 6
"""Bytes of a value that is recognised inside of a longer text in base64, such as that of basic authentication."""


class Redaction:
    """The forms of some secrets, and what stands in their place."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        marks = {form: f"[secret {one.name}]".encode() for one in secrets for form in forms_of(one.reveal())}
        # A longer form may hold a shorter one: whoever begins with that leaves the rest of it standing.
        self._marks = sorted(marks.items(), key=lambda pair: -len(pair[0]))

    def __bool__(self) -> bool:
        return bool(self._marks)

    def __repr__(self) -> str:
        return f"Redaction({len(self._marks)} forms)"

    @property
    def longest(self) -> int:
        """Count the bytes of the longest form."""
        return len(self._marks[0][0]) if self._marks else 0

    def clean(self, content: bytes) -> bytes:
        """Take every whole form out."""
        for form, mark in self._marks:
            content = content.replace(form, mark)
        return content

    def clean_text(self, text: str) -> str:
        """Take every whole form out of a text."""
        return self.clean(text.encode(errors="surrogatepass")).decode(errors="replace") if self._marks else text

    def without_begun(self, content: bytes) -> bytes:
        """Take off the end what is the beginning of a form: it was cut there."""
        cut = max((_overlap(content, form) for form, _ in self._marks), default=0)
        return content[: len(content) - cut] if cut else content

    def without_ended(self, content: bytes) -> bytes:
        """Take off the beginning what is the end of a form."""
        cut = max((_overlap(content[::-1], form[::-1]) for form, _ in self._marks), default=0)
        return content[cut:]


def _overlap(content: bytes, form: bytes) -> int:
    """Count how many bytes at the end of `content` begin a form, if they tell something of it."""
    most = min(len(form) - 1, len(content))
    return next((n for n in range(most, SHORTEST - 1, -1) if content.endswith(form[:n])), 0)


def forms_of(value: str) -> set[bytes]:
    """Write a value in all the ways in which it is recognised."""
    texts = {value, value.strip(), value.removeprefix("whsec_")}
    # "Bearer abc" is one value, of which a target may repeat the second word only; so is a key of many lines.
    texts |= {part for part in value.split() if len(part) >= SHORTEST_PART}
    return {form for text in texts if len(text) >= SHORTEST for form in _written(text) if len(form) >= SHORTEST}


def _written(text: str) -> Iterator[bytes]:
    raw = text.encode()
    for escaped in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
        yield escaped.encode()
        # Escaped once more, as a JSON text inside of a JSON text.
        yield json.dumps(escaped, ensure_ascii=False)[1:-1].encode()
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)):
        yield quoted.encode()
        yield _lower_hex(quoted).encode()
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield from _in_base64(raw)


def _lower_hex(quoted: str) -> str:
    first, *rest = quoted.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Write bytes in base64, also as they stand there behind one or two others."""
    for encode in (b64encode, urlsafe_b64encode):
        yield encode(raw).rstrip(b"=")
        if len(raw) < SHORTEST_INSIDE:
            continue
        for before in range(3):
            encoded = encode(b"\0" * before + raw).rstrip(b"=")
            # The digits at both ends hold bits of the neighbours too.
            first = -(-before * 8 // 6)
            last = (before + len(raw)) * 8 // 6
            yield encoded[first:last]


NONE = Redaction()
# What quotes and keeps a target's words is far from where the secrets are known; the redaction travels beside.
_current: ContextVar[Redaction] = ContextVar("redaction", default=NONE)


def current() -> Redaction:
    """Give the redaction of this task's attempt."""
    return _current.get()


@contextmanager
def redacting(secrets: Mapping[str, Secret]) -> Iterator[Redaction]:
    """Take these secrets out of everything that is kept or quoted within the block."""
    redaction = Redaction(secrets.values()) if secrets else NONE
    token = _current.set(redaction)
    try:
        yield redaction
    finally:
        _current.reset(token)
