"""What a worker may perform, as it tells the others."""

from __future__ import annotations

import json
from typing import NamedTuple

from backend.targets.base import TargetRules
from backend.targets.registry import ERRAND_KINDS

TOLD = ("allow_commands", "allow_private_urls", "python_prefixes", "mail")


class Abilities(NamedTuple):
    """The kinds of target that are not switched off on a worker, and its rules for what each names."""

    kinds: tuple[str, ...]
    """Narrower ones too, such as `python:app.jobs`: they are for runs that another worker has given back."""
    rules: TargetRules


NONE = Abilities((), TargetRules(allow_commands=False, allow_private_urls=False))


def abilities_of(rules: TargetRules) -> Abilities:
    """Say what a worker with these rules may perform.

    >>> abilities_of(TargetRules(allow_commands=True, allow_private_urls=False)).kinds
    ('http', 'command')
    """
    return Abilities(tuple(one for target in ERRAND_KINDS.values() for one in target.abilities(rules)), rules)


def write_abilities(abilities: Abilities) -> str:
    """Write them as JSON: what the settings of a worker say, not what a namespace may."""
    rules = abilities.rules
    return json.dumps({"kinds": abilities.kinds} | {name: getattr(rules, name) for name in TOLD})


def read_abilities(text: str) -> Abilities:
    """Read what another worker has written; of another version's, what this program does not know counts as no."""
    try:
        told = json.loads(text)
        rules = TargetRules(
            allow_commands=bool(told.get("allow_commands")),
            allow_private_urls=bool(told.get("allow_private_urls")),
            python_prefixes=tuple(map(str, told.get("python_prefixes", ()))),
            mail=bool(told.get("mail")),
        )
        return Abilities(tuple(map(str, told.get("kinds", ()))), rules)
    except (ValueError, TypeError, AttributeError):
        return NONE
