"""Takes out of a document what may be a secret, before it is kept where more people read."""

from __future__ import annotations

import re

MASK = "***"
_TELLING = re.compile(
    r"authorization|cookie|credential|passw|passphrase|secret|signature|token|api[-_]?key", re.IGNORECASE
)
_IN_QUERY = re.compile(rf"([?&][^=&#\s]*(?:{_TELLING.pattern})[^=&#\s]*=)[^&#\s]+", re.IGNORECASE)


def masked(value: object, name: str = "") -> object:
    """Give the document with a mask for every text whose name says that it is a secret; references to secrets stay.

    >>> masked({"headers": {"Authorization": "Bearer x", "X-Team": "growth"}, "max_tokens": 5})
    {'headers': {'Authorization': '***', 'X-Team': 'growth'}, 'max_tokens': 5}
    >>> masked({"env": {"API_KEY": {"secret": "openai"}}, "url": "https://example.org/?token=x&a=b"})
    {'env': {'API_KEY': {'secret': 'openai'}}, 'url': 'https://example.org/?token=***&a=b'}
    """
    match value:
        case {"secret": str(), **others} if not others:
            return value
        case dict():
            return {
                key: masked(one, f"{name} {key}" if _TELLING.search(name) else str(key)) for key, one in value.items()
            }
        case list() | tuple():
            return [masked(one, name) for one in value]
        case str() if value and _TELLING.search(name):
            return MASK
        case str():
            return _IN_QUERY.sub(rf"\1{MASK}", value) if "=" in value else value
        case _:
            return value
