"""What targets of a namespace may do."""

from __future__ import annotations

from dataclasses import replace

from backend.model.egress import read_egress
from backend.store.port import NamespaceStore
from backend.targets.base import TargetRules


async def rules_in(store: NamespaceStore, rules: TargetRules) -> TargetRules:
    """Add to the server's rules which hosts the namespace may call."""
    hosts = (await store.terms()).egress
    return rules if hosts is None else replace(rules, egress=read_egress(hosts))
