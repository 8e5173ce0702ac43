"""Says how this server sends e-mail."""

from __future__ import annotations

from backend.errors import ConfigurationError
from backend.settings import Settings
from backend.targets.mailer import Mailer, read_mailer


def mailer_of(settings: Settings) -> Mailer | None:
    """Say how e-mail is sent; None: not at all. ConfigurationError names the setting that is wrong."""
    if settings.smtp_url is None:
        return None
    if settings.smtp_from is None or "@" not in settings.smtp_from:
        raise ConfigurationError("SCHEDULER_SMTP_FROM: e-mail comes from nobody, so give an address for it")
    try:
        return read_mailer(settings.smtp_url, settings.smtp_from)
    except ValueError as error:
        raise ConfigurationError(f"SCHEDULER_SMTP_URL: {error}; give e.g. smtp://USER:PASSWORD@HOST:587") from None
