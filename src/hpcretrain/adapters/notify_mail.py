"""Tells people by e-mail."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, formatdate
from pathlib import Path

from hpcretrain.adapters.secretfile import secret
from hpcretrain.canonical import sha256
from hpcretrain.config.routes import MailRoute
from hpcretrain.report.notices import Notice

TIMEOUT_S = 15.0


def send(route: MailRoute, notice: Notice, folder: Path) -> None:
    """Send a notice.

    Args:
        route: Where to.
        notice: What.
        folder: Where the route's files lie.

    Raises:
        SecretError, OSError, smtplib.SMTPException, ValueError: It was not taken.
    """
    context = ssl.create_default_context(cafile=str(folder / route.ca_file) if route.ca_file else None)
    login = secret(folder / route.credentials).splitlines() if route.credentials else []
    if route.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(route.host, route.port, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(route.host, route.port, timeout=TIMEOUT_S)
    with server:
        if route.security == "starttls":
            server.starttls(context=context)
        if route.credentials:
            if len(login) != 2:
                raise ValueError(f"{route.credentials} holds {len(login)} lines; it takes two: user and password")
            server.login(login[0], login[1])
        refused = server.send_message(_message(route, notice))
    if refused:
        raise smtplib.SMTPRecipientsRefused(refused)


def _message(route: MailRoute, notice: Notice) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = route.sender, ", ".join(route.to)
    message["Subject"] = f"[hpcretrain] {notice.title}"
    message["Date"] = formatdate()
    message["X-Hpcretrain-Since"] = format_datetime(notice.at)
    # The same news has the same identifier, so that mail programs show once what was sent twice.
    message["Message-ID"] = f"<{sha256(f'{route.name} {notice.id}')[:32]}@hpcretrain>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{notice.text}\n\nWhat to do:\n  {notice.next}\n")
    return message
