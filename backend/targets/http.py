"""The `http` target: one request, whose status is the outcome."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from yarl import URL

from backend.errors import FieldError
from backend.model.instants import rfc3339, rfc3339_or_none
from backend.model.numbers import WHOLE
from backend.model.run import Dispatch
from backend.model.secret import OneOrTwoSecrets, SecretRef, TextOrSecret, revealed, values
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools, callback_names
from backend.targets.http_rules import (
    MOST_HEADERS,
    check_body,
    check_host,
    check_signed,
    checked_headers,
    checked_url,
    sendable,
)
from backend.targets.output import first_line, quote
from backend.targets.sender import Answer, NoAnswer, Request
from backend.targets.signing import signature_headers

RETRY_AFTER_SECONDS = 86400.0
TRANSIENT = frozenset({408, 429})
PRIVATE = "http:private"
OFF = "set SCHEDULER_ALLOW_PRIVATE_URLS=true on the server"
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "latin-1", "windows-1252"})
_NOTHING = object()
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_JSON_TYPE = re.compile(r"application/json|[^;]*\+json", re.IGNORECASE)

Status = Annotated[int, Field(ge=200, le=599, strict=True), WHOLE]


class HttpTarget(BaseModel):
    """Call a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["http"] = "http"
    method: Literal["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"] = "POST"
    url: str = Field(description="Absolute http or https URL, without user name or password.")
    headers: dict[str, TextOrSecret] = Field(
        default_factory=dict,
        max_length=MOST_HEADERS,
        description="Sent as they are, beside our own; values may be secrets.",
    )
    body: JsonValue = Field(
        default=None,
        description='Sent as JSON; null sends an envelope that describes the run. In it, `{"secret": name}` is '
        "replaced by its value.",
    )
    signing_secret: OneOrTwoSecrets | None = Field(
        default=None, description="Signs as Standard Webhooks; two while one replaces the other."
    )
    success_statuses: tuple[Status, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="Statuses that mean success; null: every 2xx."
    )

    @field_validator("url")
    @classmethod
    def _url_is_absolute(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("headers")
    @classmethod
    def _headers_are_sendable(cls, headers: dict[str, str | SecretRef]) -> dict[str, str | SecretRef]:
        return checked_headers(headers)

    @field_validator("body", mode="wrap")
    @classmethod
    def _body_is_json(cls, body: object, check: ValidatorFunctionWrapHandler) -> object:
        copy = _copied(body)
        if copy == body:
            return copy
        body = check(body)
        try:
            encode_json(body)
        except (ValueError, RecursionError) as error:
            raise FieldError("the body is not JSON", "leave out NaN, infinities and deep nesting") from error
        return body

    @model_validator(mode="after")
    def _method_carries_the_body(self) -> HttpTarget:
        check_body(self.method, self.body)
        if self.signing_secret is not None:
            check_signed(self.headers)
        return self

    @staticmethod
    def abilities(rules: TargetRules) -> tuple[str, ...]:
        """Every worker sends to public addresses."""
        return ("http", PRIVATE) if rules.allow_private_urls else ("http",)

    def ability(self, rules: TargetRules) -> str | None:
        """Private addresses, if the rules allow them."""
        return PRIVATE if rules.allow_private_urls else None

    @property
    def signers(self) -> tuple[SecretRef, ...]:
        """The secrets that sign, the newest first."""
        if self.signing_secret is None:
            return ()
        return self.signing_secret if isinstance(self.signing_secret, tuple) else (self.signing_secret,)

    def check(self, rules: TargetRules) -> None:
        """Refuse a host that the namespace may not call, and an address that is literally private, unless allowed."""
        check_host(self.url, rules.egress, allow_private=rules.allow_private_urls)

    async def perform(self, dispatch: Dispatch, tools: Tools) -> Outcome:
        """Send the request and classify what comes back."""
        try:
            request = request_of(self, dispatch)
        except FieldError as error:
            return Failed(f"{error.rule}; {error.fix}", permanent=True)
        answer = await tools.sender.send(request)
        if isinstance(answer, NoAnswer):
            text = f"{answer.error}; {OFF}" if answer.blocked else answer.error
            return Failed(text, answer.permanent, barred=answer.blocked)
        return classify(self, answer)


def request_of(target: HttpTarget, dispatch: Dispatch) -> Request:
    """Build what is sent for one attempt; FieldError when a secret cannot be sent where it stands."""
    body = body_of(target, dispatch)
    headers = headers_of(dispatch) | ({} if body is None else {"Content-Type": "application/json"})
    if target.signers:
        headers |= signature_headers(dispatch, body or b"", [dispatch.secrets[one.secret] for one in target.signers])
    theirs = sendable(target.headers, values(target.headers, dispatch.secrets))
    given = {name.lower() for name in theirs}
    ours = {name: value for name, value in headers.items() if name.lower() not in given}
    return Request(target.method, URL(target.url), ours | theirs, body, dispatch.timeout, dispatch.egress)


def headers_of(dispatch: Dispatch) -> dict[str, str]:
    """Tell the target which run this is; the key is the same on every attempt."""
    return {
        "Idempotency-Key": dispatch.run_id,
        "X-Schedule-Id": dispatch.schedule_id,
        "X-Run-Id": dispatch.run_id,
        "X-Attempt": str(dispatch.attempt),
        "X-Nominal-Time": rfc3339(dispatch.nominal_at),
        "User-Agent": user_agent(),
        "Accept-Encoding": "identity",
        **({"traceparent": dispatch.traceparent} if dispatch.traceparent else {}),
        **callback_names(dispatch, "X-Callback-Token", "X-Callback-Url"),
    }


def body_of(target: HttpTarget, dispatch: Dispatch) -> bytes | None:
    """Encode the body as given, else the envelope, for a method that has a body."""
    if target.body is None:
        return encode_json(envelope(dispatch)) if target.method in {"POST", "PUT", "PATCH"} else None
    given = next((v for k, v in target.headers.items() if k.lower() == "content-type"), "application/json")
    body, content_type = revealed(target.body, dispatch.secrets), str(revealed(given, dispatch.secrets))
    if isinstance(body, str) and not _JSON_TYPE.match(content_type):
        return body.encode(errors="replace")
    return encode_json(body)


def envelope(dispatch: Dispatch) -> dict[str, Any]:
    """Describe the run to a target that has no body of its own."""
    return {
        "run_id": dispatch.run_id,
        "schedule_id": dispatch.schedule_id,
        "namespace": dispatch.namespace,
        "trigger_type": dispatch.trigger_type,
        "nominal_time": rfc3339(dispatch.nominal_at),
        "scheduled_time": rfc3339(dispatch.scheduled_at),
        "attempt": dispatch.attempt,
        "missed": {
            "count": dispatch.missed_count,
            "first": rfc3339_or_none(dispatch.missed_first_at),
            "last": rfc3339_or_none(dispatch.missed_last_at),
        },
        "input": dispatch.input,
        **({"callback": callback_names(dispatch, "token", "url")} if dispatch.callback else {}),
    }


def _copied(document: object) -> object:
    """Write JSON and read it again, by a fast writer: the same comes back of what is surely JSON, and has no NaN."""
    try:
        return orjson.loads(orjson.dumps(document))
    except (TypeError, ValueError, RecursionError):
        return _NOTHING


def encode_json(document: object) -> bytes:
    """Write JSON in ASCII, which holds any text, lone surrogates too."""
    return _JSON.encode(document).encode("ascii")


@cache
def user_agent() -> str:
    """Name this software and its version."""
    try:
        return f"agent-scheduler/{version('agent-scheduler')}"
    except PackageNotFoundError:
        return "agent-scheduler"


def classify(target: HttpTarget, answer: Answer) -> Outcome:
    """Decide what a status means: success, try again, or give up."""
    text, truncated = _text(answer)
    status = answer.status
    expected = 200 <= status < 300 if target.success_statuses is None else status in target.success_statuses
    if expected and answer.complete:
        return Succeeded(text, truncated, status)
    transient = expected or status in TRANSIENT or status >= 500
    error = f"{target.method} answered {_status_name(status)}: {_reason(answer, text, expected=expected)}"
    wait = retry_after(answer.headers) if transient else None
    return Failed(error.removesuffix(": "), not transient, text, truncated, status, wait)


def _reason(answer: Answer, text: str, *, expected: bool) -> str:
    if expected:
        return "the connection was lost in the middle of the answer"
    if 300 <= answer.status < 400:
        place = quote(answer.headers.get("Location", ""))
        return f"redirects are not followed ({place})" if place else "redirects are not followed"
    return first_line(text)


def _status_name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _text(answer: Answer) -> tuple[str, bool]:
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"} and answer.output.size:
        return f"[{answer.output.size} bytes, {quote(encoding)}]", answer.output.truncated
    charset = re.search(r"charset=\"?([\w-]+)", answer.headers.get("Content-Type", ""), re.IGNORECASE)
    name = charset.group(1).lower() if charset else "utf-8"
    return answer.output.text(name if name in _CHARSETS else "utf-8")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds the target asks to be left alone, at most a day (RFC 9110, 10.2.3).

    A date is measured against the answer's own Date, so that no clock of ours has to agree with the target's.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+", value, re.ASCII):
        return RETRY_AFTER_SECONDS if len(value) > 9 else min(float(value), RETRY_AFTER_SECONDS)
    until, now = _http_date(value), _http_date(headers.get("Date", ""))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), RETRY_AFTER_SECONDS)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else None
