"""Outgoing e-mail: one message, one connection, by the operator's server."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Mailer:
    """The server that takes e-mail, and whom it comes from."""

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = ""
    implicit_tls: bool = False
    starttls: bool = True

    async def send(self, message: EmailMessage, seconds: float) -> None:
        """Hand a message over; OSError or SMTPException when it was not taken. `seconds` bound each step."""
        # The thread goes on when nobody waits any more, but no longer than its own bound.
        await asyncio.to_thread(self._send, message, seconds)

    def _send(self, message: EmailMessage, seconds: float) -> None:
        context = ssl.create_default_context()
        client: smtplib.SMTP
        if self.implicit_tls:
            client = smtplib.SMTP_SSL(self.host, self.port, timeout=seconds, context=context)
        else:
            client = smtplib.SMTP(self.host, self.port, timeout=seconds)
        with client:
            if self.starttls and not self.implicit_tls:
                _encrypt(client, context)
            if self.user:
                client.login(self.user, self.password)
            client.send_message(message)


def _encrypt(client: smtplib.SMTP, context: ssl.SSLContext) -> None:
    try:
        client.starttls(context=context)
    except smtplib.SMTPNotSupportedError:
        raise smtplib.SMTPNotSupportedError(
            "it knows no STARTTLS; in SCHEDULER_SMTP_URL use smtps://, or ?starttls=false to send unencrypted"
        ) from None


def read_mailer(url: str, sender: str) -> Mailer:
    """Read `smtp://user:password@host:587?starttls=false`, or `smtps://…`; ValueError says what is wrong.

    >>> mailer = read_mailer("smtp://ann:p%40ss@mail.example.org", "jobs@example.org")
    >>> mailer.port, mailer.password, mailer.starttls
    (587, 'p@ss', True)
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("it is not smtp://HOST or smtps://HOST")
    options = parse_qs(parts.query)
    wanted = options.pop("starttls", ["true"])[-1]
    if options or wanted not in {"true", "false"} or parts.path not in {"", "/"}:
        raise ValueError("after the host only ?starttls=true or ?starttls=false may stand")
    return Mailer(
        parts.hostname,
        parts.port or PORTS[parts.scheme],
        sender,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        implicit_tls=parts.scheme == "smtps",
        starttls=wanted == "true",
    )
