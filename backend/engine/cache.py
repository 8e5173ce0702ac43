"""Caches for what is read from stored texts, bounded in bytes as well as in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, update_wrapper, wraps
from threading import Lock
from typing import Generic, TypeVar, TypeVarTuple, cast

T = TypeVar("T")
Others = TypeVarTuple("Others")
Key = tuple[object, ...]
ENTRIES = 8192
LONGEST = 4096
"""Characters; thousands of longer texts would fill the memory."""
LONG_TEXTS = 4 * 2**20
"""Characters of longer texts that one cache keeps."""


def cached_if_short(read: Callable[[str], T]) -> Callable[[str], T]:
    """Remember what `read` makes of texts of up to LONGEST characters, ENTRIES of them."""
    remembered = lru_cache(maxsize=ENTRIES)(read)

    @wraps(read)
    def look(text: str) -> T:
        return remembered(text) if len(text) <= LONGEST else read(text)

    return look


def cached_by_length(
    entries: int, *, longest: int = LONGEST
) -> Callable[[Callable[[str, *Others], T]], Callable[[str, *Others], T]]:
    """Remember `entries` answers about texts of up to `longest` characters, and LONG_TEXTS of longer ones."""

    def around(read: Callable[[str, *Others], T]) -> Callable[[str, *Others], T]:
        short = cast("Callable[[str, *Others], T]", lru_cache(maxsize=entries)(read))
        long: _Kept[T] = _Kept()

        def look(text: str, *others: *Others) -> T:
            if len(text) <= longest:
                return short(text, *others)
            return long.get((text, *others), len(text), lambda: read(text, *others))

        return update_wrapper(look, read)

    return around


class _Kept(Generic[T]):
    """Answers about long texts, those asked for last; the newest stays however long its text is."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, tuple[int, T]] = OrderedDict()
        self._characters = 0
        self._lock = Lock()

    def get(self, key: Key, characters: int, read: Callable[[], T]) -> T:
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key][1]
        answer = read()  # it takes a while; whoever asks for the same meanwhile reads it too
        with self._lock:
            self._keep(key, characters, answer)
        return answer

    def _keep(self, key: Key, characters: int, answer: T) -> None:
        if key in self._answers:
            return
        self._answers[key] = characters, answer
        self._characters += characters
        while self._characters > LONG_TEXTS and len(self._answers) > 1:
            _, (freed, _) = self._answers.popitem(last=False)
            self._characters -= freed
