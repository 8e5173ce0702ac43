"""The server that takes e-mail: how it is reached, and what is said when it cannot be."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from backend.targets.mailer import read_mailer
from tests.acceptance.server import free_port

pytestmark = pytest.mark.anyio


async def test_a_server_without_starttls_is_refused_with_what_to_set() -> None:
    port = free_port()
    server = Controller(Sink(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        mailer = read_mailer(f"smtp://127.0.0.1:{port}", "jobs@example.org")
        with pytest.raises(smtplib.SMTPNotSupportedError, match=r"smtps://, or \?starttls=false"):
            await mailer.send(EmailMessage(), 5)
    finally:
        server.stop()
