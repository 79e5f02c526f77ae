"""``bindings.smtp``: e-mails through a mail server."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import aiosmtplib

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings import mail
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.text import text_of
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import client_context

_LOG = get_logger("dapr.contrib.bindings.smtp")
_TLS_PORT = 465
_CONNECTIONS = 16
_MAIL_SECONDS = 60.0
_STEP_SECONDS = 30.0
_GOODBYE_SECONDS = 5.0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError("expected a number from 1 to 65535")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """Names and defaults as in Dapr; a request may say of its mail what stands here for all."""

    host: str = setting("host", help="name or address of the mail server")
    port: int = setting(
        "port",
        default=587,
        parse=_port,
        help="465 is TLS from the start; elsewhere STARTTLS is used when the server offers it",
    )
    user: str = setting("user", default="", help="who logs in; nobody when empty")
    password: str = setting("password", default="", secret=True, help="the user's password")
    skip_tls_verify: bool = setting(
        "skipTLSVerify", default=False, help="take any certificate of the server"
    )
    sender: str = setting(
        "emailFrom", default="", parse=mail.checked_sender, help="address that mails come from"
    )
    to: str = setting(
        "emailTo",
        default="",
        parse=mail.checked_recipients,
        help="addresses they go to, with `;` between them",
    )
    cc: str = setting(
        "emailCC", default="", parse=mail.checked_recipients, help="those who get a copy"
    )
    bcc: str = setting(
        "emailBCC",
        default="",
        parse=mail.checked_recipients,
        help="those who get a copy that nobody sees",
    )
    subject: str = setting("subject", default="", parse=mail.single_line, help="subject of mails")
    priority: int = setting(
        "priority", default=3, parse=mail.priority, help="from 1, the highest, to 5"
    )


class MailError(Exception):
    """A mail was not sent; the text says where and why."""


class SmtpBinding(OutputBinding):
    """``create`` sends the data as an HTML body: to every recipient, or to none of them."""

    settings: ClassVar[type[Any]] = SmtpSettings
    operations = ("create",)

    def __init__(self, settings: SmtpSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        if bool(settings.user) != bool(settings.password):
            present, absent = ("user", "password") if settings.user else ("password", "user")
            raise SettingsError(f"missing required metadata field '{absent}': '{present}' is given")
        self._config = settings
        self._shown = f"mail server {settings.host}:{settings.port}"
        self._defaults = {
            "emailfrom": settings.sender,
            "emailto": settings.to,
            "emailcc": settings.cc,
            "emailbcc": settings.bcc,
            "subject": settings.subject,
            "priority": str(settings.priority),
        }
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._tls: ssl.SSLContext | None = None
        self._told = False

    async def open(self) -> None:
        """Connects to nothing: a mail server that is away fails mails, not the start."""
        self._tls = client_context(verify=not self._config.skip_tls_verify)

    async def ping(self) -> None:
        client = self._client()
        with self._failures(), _ended(client):
            async with asyncio.timeout(_STEP_SECONDS):
                await client.connect()
            await _say_goodbye(client)

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        message = mail.compose(self._words(request.metadata), text_of(request.data))
        client = self._client()
        with self._failures(), _ended(client):
            async with asyncio.timeout(_MAIL_SECONDS), self._slots:
                await self._send(client, message)
            await _say_goodbye(client)
        return None

    def _words(self, metadata: Mapping[str, str]) -> dict[str, str]:
        given = {name.lower(): value for name, value in metadata.items() if value}
        return {
            name: given.get(name.lower()) or self._defaults[name.lower()] for name in mail.FIELDS
        }

    def _client(self) -> aiosmtplib.SMTP:
        assert self._tls is not None, "open() comes first"
        config = self._config
        return aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            local_hostname="localhost",
            timeout=_STEP_SECONDS,
            use_tls=config.port == _TLS_PORT,
            tls_context=self._tls,
        )

    async def _send(self, client: aiosmtplib.SMTP, message: mail.Mail) -> None:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        if self._config.user:
            await self._log_in(client)
        options: list[str] = []
        if message.international:
            if not client.supports_extension("smtputf8"):
                raise MailError(f"{self._shown} takes addresses in ASCII only")
            options.append("SMTPUTF8")
        await client.mail(message.sender, options=options, encoding="utf-8")
        for recipient in message.recipients:
            await client.rcpt(recipient, encoding="utf-8")
        await client.data(message.content)

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        """A password is not for everybody on the way to read."""
        user, password = self._config.user, self._config.password
        if not client.supports_extension("auth"):
            if not self._told:
                _LOG.warning("%s asks for no login: 'user' has no effect", self._shown)
            self._told = True
        elif _is_private(client):
            await client.login(user, password)
        elif "cram-md5" in client.server_auth_methods:
            await client.auth_crammd5(user, password)
        else:
            raise MailError(f"{self._shown} offers no TLS: the password was not sent")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except aiosmtplib.SMTPRecipientRefused as error:
            text = f"{self._shown} refused {error.recipient}: {error.code} {error.message}"
            raise MailError(text) from error
        except aiosmtplib.SMTPResponseException as error:
            raise MailError(f"{self._shown} refused: {error.code} {error.message}") from error
        except aiosmtplib.SMTPException as error:
            raise MailError(f"{self._shown}: {error.message}") from error
        except TimeoutError as error:
            text = f"{self._shown}: not done within {_MAIL_SECONDS:g} s"
            raise MailError(text) from error
        except OSError as error:
            raise MailError(f"{self._shown}: {error}") from error


def _is_private(client: aiosmtplib.SMTP) -> bool:
    """Whether nobody else reads what is sent: it is encrypted, or stays on this machine."""
    if client.get_transport_info("sslcontext") is not None:
        return True
    peer = client.get_transport_info("peername")
    return bool(peer) and ipaddress.ip_address(peer[0]).is_loopback


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """The mail is taken already: what the server says to this changes nothing."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await client.execute_command(b"QUIT")


@contextlib.contextmanager
def _ended(client: aiosmtplib.SMTP) -> Iterator[None]:
    """Cut the connection at the end: closing one with TLS would wait for the peer's answer."""
    try:
        yield
    finally:
        transport = cast(asyncio.WriteTransport | None, client.transport)
        client.close()
        if transport is not None:
            transport.abort()
