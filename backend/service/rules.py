"""What targets of a namespace may do."""

from __future__ import annotations

from dataclasses import replace

from backend.store.egress import load_egress
from backend.store.port import NamespaceStore
from backend.targets.base import TargetRules


async def rules_in(store: NamespaceStore, rules: TargetRules) -> TargetRules:
    """Add to the server's rules which hosts the namespace may call."""
    egress = (await store.terms()).egress
    return rules if egress is None else replace(rules, egress=load_egress(egress))
