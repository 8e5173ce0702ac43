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
        return self._replaced(content, len(content))[0]

    def settle(self, content: bytes) -> tuple[bytes, bytes]:
        """Take forms out as far as more of the text cannot make longer ones of them; answers that, and the rest."""
        settled, after = self._replaced(content, max(0, len(content) - self.longest + 1))
        return settled, content[after:]

    def finish(self, content: bytes) -> bytes:
        """Take forms out of the end of a text, also the beginning of one that was cut there."""
        settled, after = self._replaced(content, len(content) - self._begun(content))
        rest = content[after:]
        return settled + rest[: len(rest) - self._begun(rest)]

    def _replaced(self, content: bytes, before: int) -> tuple[bytes, int]:
        """Replace the forms that start before a place; answers the text up to there, and where it ends."""
        pieces, place = [], 0
        for start, end, mark in self._found(content):
            if start >= before:
                break
            pieces += [content[place:start], mark]
            place = end
        pieces.append(content[place:before])
        return b"".join(pieces), max(place, before)

    def _found(self, content: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Find forms from left to right, at each place the longest."""
        marks = dict(self._marks)
        ahead = {form: start for form in marks if (start := content.find(form)) >= 0}
        while ahead:
            form = min(ahead, key=lambda form: (ahead[form], -len(form)))
            start, end = ahead[form], ahead[form] + len(form)
            yield start, end, marks[form]
            for passed in [form for form, place in ahead.items() if place < end]:
                ahead[passed] = content.find(passed, end)
            ahead = {form: place for form, place in ahead.items() if place >= 0}

    def _begun(self, content: bytes) -> int:
        return max((_overlap(content, form) for form, _ in self._marks), default=0)

    def clean_text(self, text: str) -> str:
        """Take every whole form out of a text."""
        return self.clean(text.encode(errors="surrogatepass")).decode(errors="replace") if self._marks else text

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
