"""aiosmtpd with what its command line cannot set: a login. Run with the Python of the kit's copy.

``smtp_program.py PORT MAILDIR [--certificate PEM] [--tls-from-start] [--login USER:PASSWORD]
[--login-in-the-open] [--refuse ADDRESS]``
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from typing import Any

from aiosmtpd.handlers import Mailbox  # type: ignore[import-not-found]
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword  # type: ignore[import-not-found]


class Keeping(Mailbox):  # type: ignore[misc]
    """A maildir; mails to one address are refused."""

    def __init__(self, folder: str, refused: str) -> None:
        super().__init__(folder)
        self._refused = refused

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address == self._refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def login_of(given: str) -> Any:
    user, _, password = given.partition(":")
    wanted = LoginPassword(user.encode(), password.encode())

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, found: Any) -> Any:
        return AuthResult(success=found == wanted, handled=False)

    return check


async def serve() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("port", type=int)
    words.add_argument("maildir")
    words.add_argument("--certificate", default="")
    words.add_argument("--tls-from-start", action="store_true")
    words.add_argument("--login", default="")
    words.add_argument("--login-in-the-open", action="store_true")
    words.add_argument("--refuse", default="")
    given = words.parse_args()
    tls = None
    if given.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(given.certificate)
    handler = Keeping(given.maildir, given.refuse)
    settings: dict[str, Any] = {
        "hostname": "mail.test",
        "enable_SMTPUTF8": True,
        "auth_require_tls": not (given.login_in_the_open or given.tls_from_start),
    }
    if tls and not given.tls_from_start:
        settings["tls_context"] = tls
    if given.login:
        settings |= {"authenticator": login_of(given.login), "auth_required": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, loop=loop, **settings),
        "127.0.0.1",
        given.port,
        ssl=tls if given.tls_from_start else None,
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
