"""Takes out of a document what may be a secret, before it is kept where more people read."""

from __future__ import annotations

import re
from functools import lru_cache

MASK = "***"
_MAY_TELL = (str, dict, list, tuple)
WORDS = (
    *("authorization", "cookie", "credential", "passw", "passphrase", "secret", "signature", "token"),
    *("apikey", "api-key", "api_key"),
)
"""What a name says that stands for a secret, in lower case."""
_TELLING = re.compile("|".join(WORDS), re.IGNORECASE)
_IN_QUERY = re.compile(rf"([?&][^=&#\s]*(?:{_TELLING.pattern})[^=&#\s]*=)[^&#\s]+", re.IGNORECASE)


LONGEST_NAME = 100
"""Characters; of longer names it is not remembered whether they tell, so that a stranger cannot fill the memory."""


def masked(value: object, *, telling: bool = False) -> object:
    """Give the document with a mask for every text whose name says that it is a secret; references to secrets stay.

    `telling` says that a name above does.

    >>> masked({"headers": {"Authorization": "Bearer x", "X-Team": "growth"}, "max_tokens": 5})
    {'headers': {'Authorization': '***', 'X-Team': 'growth'}, 'max_tokens': 5}
    >>> masked({"env": {"API_KEY": {"secret": "openai"}}, "url": "https://example.org/?token=x&a=b"})
    {'env': {'API_KEY': {'secret': 'openai'}}, 'url': 'https://example.org/?token=***&a=b'}
    """
    if isinstance(value, str):
        if telling:
            return MASK if value else value
        return _IN_QUERY.sub(rf"\1{MASK}", value) if "=" in value else value
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("secret"), str):
            return value
        return {
            key: masked(one, telling=telling or _tells(str(key))) if isinstance(one, _MAY_TELL) else one
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(one, telling=telling) for one in value]
    return value


def may_tell(text: str) -> bool:
    """Tell whether there may be anything to mask in a document, from its JSON; it is quick, and never says no in error.

    >>> may_tell('{"headers":{"X-Team":"growth"}}'), may_tell('{"headers":{"X-Api-Key":"k"}}')
    (False, True)
    """
    if not text.isascii():
        return True  # in which other letters count as these ones, the pattern knows
    lower = text.lower()
    return any(word in lower for word in WORDS)


def _tells(name: str) -> bool:
    return _short_name_tells(name) if len(name) <= LONGEST_NAME else bool(_TELLING.search(name))


@lru_cache(maxsize=4096)
def _short_name_tells(name: str) -> bool:
    return bool(_TELLING.search(name))
