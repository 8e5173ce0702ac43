"""Lists of allowed hosts: what they let a namespace call, by name and by address."""

from __future__ import annotations

import pytest

from backend.errors import FieldError
from backend.model.egress import read_egress
from backend.targets.base import TargetRules
from backend.targets.http import HttpTarget
from backend.targets.sender import Answer, NoAnswer
from tests.unit.ssrf_world import (
    Names,
    kept_alive,
    request,
    sending,
)

ALLOWED = ["api.example.org", "*.example.com", "203.0.114.7", "10.1.0.0/16", "fd12::/32"]


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("api.example.org", True),
        ("API.Example.ORG.", True),
        ("a.example.com", True),
        ("a.b.example.com", True),
        ("203.0.114.7", True),
        ("10.1.2.3", True),
        ("[::ffff:10.1.2.3]", True),
        ("[fd12::1]", True),
        ("other.example.net", True),  # it may turn out to be in a network
        ("10.2.0.1", False),
        ("1.1.1.1", False),
        ("[fd13::1]", False),
        ("127.0.0.1", False),
    ],
)
def test_an_allow_list_decides_about_the_hosts_that_a_url_names(host: str, accepted: bool) -> None:
    rules = TargetRules(allow_commands=False, allow_private_urls=False, egress=read_egress(ALLOWED))
    target = HttpTarget(url=f"https://{host}/")
    if accepted:
        target.check(rules)
    else:
        with pytest.raises(FieldError, match="not among the hosts that this namespace may call") as refused:
            target.check(rules)
        assert refused.value.field == "url"


@pytest.mark.parametrize("host", ["example.com", "xexample.com", "api.example.org.evil.net", "evilapi.example.org"])
def test_a_list_of_names_alone_refuses_every_other_name(host: str) -> None:
    rules = TargetRules(allow_commands=False, allow_private_urls=True, egress=read_egress(ALLOWED[:2]))
    with pytest.raises(FieldError, match="not among the hosts"):
        HttpTarget(url=f"https://{host}/").check(rules)


@pytest.mark.anyio
async def test_an_allow_list_decides_at_the_connection_what_a_name_turned_out_to_be() -> None:
    egress = read_egress(["named.example.org", "127.0.0.1"])
    names = Names(named=["10.0.0.1"], inside=["127.0.0.1"], elsewhere=["1.1.1.1"])
    async with kept_alive() as (port, seen), sending(names) as one:
        answers = [await one.send(request(f"http://{name}.example.org:{port}/", egress)) for name in names.names]
    foreign = "not among the hosts that this namespace may call"
    assert answers[0] == NoAnswer("blocked: named.example.org is at a private address", permanent=True, blocked=True)
    assert isinstance(answers[1], Answer)
    assert answers[2] == NoAnswer(f"blocked: elsewhere.example.org is {foreign}", permanent=True)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "entry", ["", "*", "*.", "a b", "http://example.org", "example.org:80", "10.0.0.1/8", "x/24", "*.*.org"]
)
def test_an_entry_that_is_neither_name_nor_network_is_refused(entry: str) -> None:
    with pytest.raises(FieldError, match=r"neither a name nor a network|not a network"):
        read_egress([entry])
