"""Signatures of outgoing requests, checked as a receiver would who has read nothing but the public description."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from pydantic import ValidationError

from backend.model.instants import SECOND
from backend.model.secret import Secret
from backend.targets.base import Failed, TargetRules, Tools
from backend.targets.http import HttpTarget, request_of
from tests.unit.test_target_http import dispatch

NEW, OLD = (base64.b64encode(key * 32).decode() for key in (b"n", b"o"))
SECRETS = {"new": Secret("new", f"whsec_{NEW}"), "old": Secret("old", f"whsec_{OLD}\n")}
SENT_AT = 1_764_579_600


def target(signing: Any, **fields: Any) -> HttpTarget:
    return HttpTarget.model_validate({"url": "https://example.org/hook", "signing_secret": signing} | fields)


def sent(signing: Any, **fields: Any) -> tuple[dict[str, str], bytes]:
    run = dispatch(secrets=SECRETS, started_at=SENT_AT * SECOND + 999_999)
    request = request_of(target(signing, **fields), run)
    return {name.lower(): value for name, value in request.headers.items()}, request.body or b""


def accepts(headers: dict[str, str], body: bytes, shared: str) -> bool:
    """Verify as a receiver: three headers, HMAC-SHA256 over id.timestamp.body under the decoded secret."""
    content = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    mac = hmac.digest(base64.b64decode(shared), content, hashlib.sha256)
    offered = [one.split(",", 1) for one in headers["webhook-signature"].split(" ")]
    return any(hmac.compare_digest(base64.b64decode(given), mac) for version, given in offered if version == "v1")


def test_a_receiver_accepts_what_was_signed_and_nothing_else() -> None:
    headers, body = sent({"secret": "new"}, body={"topic": "nöws"})
    assert accepts(headers, body, NEW)
    assert not accepts(headers, body, OLD)
    assert not accepts(headers, body + b" ", NEW)
    assert not accepts(headers | {"webhook-timestamp": str(SENT_AT + 1)}, body, NEW)
    assert not accepts(headers | {"webhook-id": "another"}, body, NEW)
    assert headers["webhook-id"] == headers["x-run-id"]
    assert int(headers["webhook-timestamp"]) == SENT_AT


def test_while_one_secret_replaces_another_both_are_accepted() -> None:
    headers, body = sent([{"secret": "new"}, {"secret": "old"}])
    assert accepts(headers, body, NEW)
    assert accepts(headers, body, OLD)
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_a_request_without_body_is_signed_too_and_one_without_secret_is_not() -> None:
    headers, body = sent({"secret": "new"}, method="GET")
    assert (body, accepts(headers, b"", NEW)) == (b"", True)
    assert not [name for name in sent(None)[0] if name.startswith("webhook-")]


def test_the_scheme_gives_the_signature_of_the_published_example() -> None:
    """The example of the description's own libraries: secret, id, timestamp and body give this signature."""
    secrets = {"example": Secret("example", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
    run = dispatch(run_id="msg_p5jXN8AQM9LWM0D4loKWxJek", secrets=secrets, started_at=1_614_265_330 * SECOND)
    text = {"body": '{"test": 2432232314}', "headers": {"Content-Type": "text/plain"}}
    request = request_of(target({"secret": "example"}, **text), run)
    assert request.body == b'{"test": 2432232314}'
    assert request.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "signing", [[], [{"secret": "a"}] * 3, {"secret": "a b"}, "whsec_abc", {"secret": "a", "b": 1}]
)
def test_a_signing_secret_is_one_or_two_references(signing: Any) -> None:
    with pytest.raises(ValidationError):
        target(signing)


def test_headers_of_the_signature_cannot_be_given() -> None:
    with pytest.raises(ValidationError, match="comes with signing_secret"):
        target({"secret": "new"}, headers={"Webhook-Id": "mine"})


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["plain text", NEW, "whsec_", "whsec_AAAA", f"whsec_{NEW}!"])
async def test_a_secret_that_is_no_signing_key_fails_for_good_and_is_not_quoted(value: str) -> None:
    rules = TargetRules(allow_commands=False, allow_private_urls=False)
    async with Tools.open(rules) as tools:
        run = dispatch(secrets={"new": Secret("new", value)})
        outcome = await target({"secret": "new"}).perform(run, tools)
    assert outcome == Failed(
        "the secret 'new' is no signing key; store whsec_ and 24 to 64 random bytes in base64", True
    )
