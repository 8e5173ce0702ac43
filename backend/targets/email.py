"""The `email` target of notifications: one message in plain text."""

from __future__ import annotations

import json
import re
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from backend.errors import FieldError
from backend.model.instants import SECOND
from backend.model.run import Dispatch
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools
from backend.targets.output import quote

_ADDRESS = re.compile(r"[^\s@<>,;:\"\\()\[\]]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
PERMANENT = 500
"""SMTP: answers from here on mean that asking again would not help."""


def _address(text: str) -> str:
    if not text.isprintable() or not _ADDRESS.fullmatch(text):
        raise FieldError(f"{text[:80]!r} is not an e-mail address", 'give one such as "ops@example.org"')
    return text


class EmailTarget(BaseModel):
    """Send an e-mail by the server that the operator has set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["email"] = "email"
    to: tuple[Annotated[str, Field(max_length=320), AfterValidator(_address)], ...] = Field(
        min_length=1, max_length=20, description="Addresses.", examples=[["ops@example.org"]]
    )

    @staticmethod
    def abilities(rules: TargetRules) -> tuple[str, ...]:
        """Workers that know a server for e-mail send it."""
        return ("email",) if rules.mail else ()

    def ability(self, rules: TargetRules) -> str | None:
        """Ask for a server for e-mail, and no more."""
        return "email" if rules.mail else None

    def check(self, rules: TargetRules) -> None:
        """Refuse e-mail where the operator has set no server for it."""
        if not rules.mail:
            fix = "set SCHEDULER_SMTP_URL and SCHEDULER_SMTP_FROM on the server, or use a target of kind http"
            raise FieldError("this server sends no e-mail", fix, "kind")

    async def perform(self, dispatch: Dispatch, tools: Tools) -> Outcome:
        """Send the message and say how it went."""
        if tools.mailer is None:
            return Failed(
                "this worker sends no e-mail; set SCHEDULER_SMTP_URL and SCHEDULER_SMTP_FROM",
                permanent=False,
                barred=True,
            )
        message = message_of(self, dispatch, tools.mailer.sender)
        try:
            await tools.mailer.send(message, dispatch.timeout)
        except smtplib.SMTPResponseException as error:
            text = (
                error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
            )
            code = error.smtp_code
            return Failed(f"the mail server answered {code}: {quote(text)}", code >= PERMANENT, status_code=code)
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            named = ", ".join(sorted(error.recipients))
            return Failed(f"the mail server refused {quote(named)}", all(code >= PERMANENT for code in codes))
        except (smtplib.SMTPException, OSError) as error:
            return Failed(
                f"the mail server cannot be used: {type(error).__name__}: {quote(str(error))}", permanent=False
            )
        return Succeeded(f"taken by {tools.mailer.host} for {', '.join(self.to)}")


def message_of(target: EmailTarget, dispatch: Dispatch, sender: str) -> EmailMessage:
    """Write the message; its id is the same on every attempt, so that mail programs show it once."""
    data = dispatch.input.get("data", {})
    text = str(data.get("text", dispatch.input.get("type", "notification")))
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(target.to)
    message["Subject"] = f"[{dispatch.namespace}] {_one_line(text)[:150]}"
    message["Date"] = formatdate(dispatch.nominal_at / SECOND)
    domain = sender.rpartition("@")[2].rstrip(">") or None
    message["Message-ID"] = f"<{dispatch.run_id}@{domain}>" if domain else make_msgid()
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_body(text, data))
    return message


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _body(text: str, data: dict[str, Any]) -> str:
    return f"{text}\n\n{json.dumps(data, indent=2, ensure_ascii=False)}\n"
