"""What a target said, kept within bounds."""

from __future__ import annotations

import codecs

from backend.targets.redaction import current

KEPT_BYTES = 64 * 1024
LINE_CHARACTERS = 200
TAIL_BYTES = 4 * LINE_CHARACTERS + 1024


class Output:
    """The first 64 KiB of what arrives, and its very end, from which an error quotes the last line.

    Secrets of the attempt are taken out before anything is kept.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._tail = b""
        self.truncated = False
        self._redaction = current()
        self._held = b""

    def add(self, chunk: bytes) -> None:
        """Keep of `chunk` what there is room for."""
        if self._redaction:
            # What may be the beginning of a secret waits for the rest of it.
            chunk, self._held = self._redaction.settle(self._held + chunk)
        self._add(chunk)

    def _settle(self) -> None:
        """Keep what still waits, but for the beginning of a secret at its end: the rest does not come any more."""
        if self._held:
            chunk, self._held = self._redaction.finish(self._held), b""
            self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        room = KEPT_BYTES - len(self._kept)
        self._kept += chunk[:room]
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]
        self.truncated = self.truncated or len(chunk) > room

    def text(self, charset: str = "utf-8") -> tuple[str, bool]:
        """Decode what was kept, without NUL and at most 64 KiB as UTF-8, and say whether it was cut."""
        self._settle()
        decoder = codecs.getincrementaldecoder(charset)("replace")
        text = decoder.decode(bytes(self._kept), final=not self.truncated).replace("\x00", "")
        encoded = text.encode()
        if len(encoded) <= KEPT_BYTES:
            return text, self.truncated
        return encoded[:KEPT_BYTES].decode(errors="ignore"), True

    def last_line(self) -> str:
        """Quote the last line that is not blank, also when it was not kept."""
        self._settle()
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return quote(lines[-1]) if lines else ""

    @property
    def size(self) -> int:
        """Count the bytes that were kept."""
        self._settle()
        return len(self._kept)


def first_line(text: str) -> str:
    """Quote the first line of a text that is not blank."""
    return quote(next((line for line in text.splitlines() if line.strip()), ""))


def quote(line: str) -> str:
    """Make a line fit for an error: without secrets, printable, at most 200 characters."""
    clean = current().clean_text(line)
    printable = "".join(character if character.isprintable() else " " for character in clean).strip()
    return printable if len(printable) <= LINE_CHARACTERS else printable[: LINE_CHARACTERS - 1] + "…"
