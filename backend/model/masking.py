"""Takes out of a document what may be a secret, before it is kept where more people read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from backend.model.secret import NAMED, WHOLE

MASK = "***"
WORDS = (
    *("authorization", "cookie", "credential", "passw", "passphrase", "secret", "signature", "token"),
    *("apikey", "api-key", "api_key"),
)
"""What a name says that stands for a secret, in lower case."""
_TELLING = re.compile("|".join(WORDS), re.IGNORECASE)
_TELLING_OF_NUMBERS = re.compile("passw|passphrase|secret|credential", re.IGNORECASE)
_IN_QUERY = re.compile(rf"([?&][^=&#\s]*(?:{_TELLING.pattern})[^=&#\s]*=)[^&#\s]+", re.IGNORECASE)


LONGEST_NAME = 100
"""Characters; of longer names it is not remembered whether they tell, so that a stranger cannot fill the memory."""


def masked(document: Mapping[str, object]) -> dict[str, object]:
    """Give the document with a mask for every text whose name says that it is a secret.

    References to secrets stay, where the target of a definition may have them; numbers stay but for passwords and the
    like.

    >>> masked({"target": {"headers": {"Authorization": "Bearer x", "X-Team": "growth"}}, "input": {"max_tokens": 5}})
    {'target': {'headers': {'Authorization': '***', 'X-Team': 'growth'}}, 'input': {'max_tokens': 5}}
    >>> masked({"target": {"env": {"API_KEY": {"secret": "openai"}}, "url": "https://example.org/?token=x&a=b"}})
    {'target': {'env': {'API_KEY': {'secret': 'openai'}}, 'url': 'https://example.org/?token=***&a=b'}}
    """
    return {
        key: _masked(one, _tells(str(key)), _TARGET if key == "target" else _NOWHERE) for key, one in document.items()
    }


def _masked(value: object, telling: int, refers: int) -> object:
    if isinstance(value, str):
        if telling:
            return MASK if value else value
        return _IN_QUERY.sub(rf"\1{MASK}", value) if "=" in value else value
    if isinstance(value, dict):
        if refers == _HERE and len(value) == 1 and isinstance(value.get("secret"), str):
            return value
        return {
            key: _masked(one, max(telling, _tells(str(key))), _below(refers, key)) if one is not None else None
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(one, telling, refers) for one in value]
    return MASK if telling > 1 and isinstance(value, int | float) and not isinstance(value, bool) else value


_NOWHERE, _TARGET, _MEMBERS, _HERE = range(4)
"""Whether a value may refer to a secret: not at all, in fields of its own, by its members, or itself and below."""
_REFERRING = dict.fromkeys(NAMED, _MEMBERS) | dict.fromkeys(WHOLE, _HERE)


def _below(refers: int, key: str) -> int:
    if refers == _TARGET:
        return _REFERRING.get(key, _NOWHERE)
    return _HERE if refers in {_MEMBERS, _HERE} else _NOWHERE


def may_tell(text: str) -> bool:
    """Tell whether there may be anything to mask in a document, from its JSON; it is quick, and never says no in error.

    >>> may_tell('{"headers":{"X-Team":"growth"}}'), may_tell('{"headers":{"X-Api-Key":"k"}}')
    (False, True)
    """
    if not text.isascii():
        return True  # in which other letters count as these ones, the pattern knows
    lower = text.lower()
    for word in WORDS:  # noqa: SIM110 - of ten thousand documents in a batch, `any` takes twice as long
        if word in lower:
            return True
    return False


def _tells(name: str) -> int:
    """Say whether a name stands for a secret: 1, and 2 where even a number may be one."""
    return _short_name_tells(name) if len(name) <= LONGEST_NAME else _name_tells(name)


@lru_cache(maxsize=4096)
def _short_name_tells(name: str) -> int:
    return _name_tells(name)


def _name_tells(name: str) -> int:
    return 2 if _TELLING_OF_NUMBERS.search(name) else int(bool(_TELLING.search(name)))
