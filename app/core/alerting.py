"""Sends a short text to people: by e-mail over SMTP, or to a chat by a webhook that takes `{"text": …}`.

The address of a chat is checked against the allowed networks where the socket is created (`core.outbound`), and no
redirect is followed. The mail server is the operator's own setting.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson
import structlog

from app.core.address import Allowed, validate_url
from app.core.errors import Invalid
from app.core.outbound import AddressRefused, checked_session

TIMEOUT: Final = 20.0  # seconds for one message
MAX_ADDRESS: Final = 254  # characters of an e-mail address
log = structlog.get_logger()
PORTS: Final = {"smtp": 25, "smtps": 465}


class NotSent(Exception):
    """Raised if a message could not be sent. Its text states the kind of failure, but no recipient and no secret."""


def is_mail_address(text: str) -> bool:
    """Returns whether a text is an e-mail address that any mail server accepts: name@host, in ASCII, without quotes.

    One address with an umlaut would make a server without SMTPUTF8 refuse the message for all recipients.
    """
    name, _, host = text.rpartition("@")
    is_plain = text.isascii() and text.isprintable() and not set(' ,;<>"@') & set(name + host)
    return bool(name and host) and is_plain and len(text) <= MAX_ADDRESS


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server.

    With `smtps` the connection is encrypted from its beginning. With `smtp` the connection is encrypted by STARTTLS if
    the server offers STARTTLS. A password is never sent without encryption.
    """

    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None
    sender: str

    @classmethod
    def parse(cls, url: str, sender: str) -> "MailServer":
        """Parses a URL such as `smtp://[user:password@]host[:port]` or `smtps://…`; raises `ValueError`."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or not sender:
            raise ValueError("A mail server is smtp://host:port or smtps://host:port, with a sender's address.")
        if not is_mail_address(parseaddr(sender)[1]):
            raise ValueError("The sender is not an e-mail address in ASCII.")
        user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
        return cls(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], user, password, sender)


async def send_mail(server: MailServer, recipients: Sequence[str], subject: str, text: str) -> None:
    """Sends one message to all recipients; raises `NotSent` if the server accepts it for none of them.

    A recipient that is no usable address is left out.
    """
    usable = [recipient for recipient in recipients if is_mail_address(recipient)]
    if len(usable) < len(recipients):
        log.warning("mail.addresses_malformed", left_out=len(recipients) - len(usable), of=len(recipients))
    if not usable:
        raise NotSent("no usable address")
    message = EmailMessage()
    message["From"], message["Subject"], message["Date"] = server.sender, subject, formatdate()
    message["To"] = ", ".join(usable)
    message["Message-ID"], message["Auto-Submitted"] = make_msgid(domain="aimline.invalid"), "auto-generated"
    message.set_content(text)
    try:
        await asyncio.to_thread(_send, server, message, len(usable))
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise NotSent(type(error).__name__) from None


def _send(server: MailServer, message: EmailMessage, recipients: int) -> None:
    tls = ssl.create_default_context()
    if server.scheme == "smtps":
        opened: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=tls)
    else:
        opened = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)
    with closing(opened) as connection:
        connection.ehlo()
        if server.scheme == "smtp" and (server.user or connection.has_extn("starttls")):
            connection.starttls(context=tls)
        if server.user:
            connection.login(server.user, server.password or "")
        # If the server refuses only some recipients, the others have the message, and must not get it again.
        refused = connection.send_message(message)
        if refused:
            log.warning("mail.recipients_refused", refused=len(refused), of=recipients)
        # The message was accepted. If a failure of QUIT were reported, the caller would send the message again.
        with suppress(OSError, smtplib.SMTPException):
            connection.quit()


async def post_to_chat(url: str, allowed: Allowed, text: str) -> None:
    """Posts a text to a chat's webhook; raises `NotSent`."""
    try:
        checked = validate_url(url, allowed)
        async with asyncio.timeout(TIMEOUT), checked_session(allowed, 0.0) as web:
            async with web.post(
                checked,
                data=orjson.dumps({"text": text}),
                headers={"Content-Type": "application/json", "User-Agent": "Aimline-Alerts/1"},
                allow_redirects=False,
            ) as response:
                if not 200 <= response.status < 300:
                    raise NotSent(f"status {response.status}")
    except Invalid:
        raise NotSent("address refused") from None
    except (AddressRefused, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NotSent(type(error).__name__) from None
