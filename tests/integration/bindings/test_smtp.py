"""Mails through real mail servers, read back from their folders."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from harness.backends import Backend, Backends
from harness.block_api import make
from harness.smtp_server import SmtpServer, mails

from dapr_sidecar.components.bindings.base import InvokeRequest
from dapr_sidecar.components.bindings.smtp import MailError, SmtpBinding

Open = Callable[..., Awaitable[Any]]
WORDS = {"emailFrom": "a@x.org", "emailTo": "b@x.org", "subject": "hi"}
LOGIN = {"user": "ada", "password": "pass word"}


@pytest.fixture
async def open_binding() -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(port: int, **properties: str) -> Any:
        words = {"host": "127.0.0.1", "port": str(port), **WORDS, **properties}
        binding = make(SmtpBinding, "mail", **words)
        made.append(binding)
        await binding.open()
        return binding

    yield run
    for binding in made:
        await binding.close()


@pytest.fixture
def server(backends: Backends) -> Backend:
    return backends.shared("smtp")


@pytest.fixture
def maildir(server: Backend) -> Path:
    return Path(server.facts["maildir"])


async def send(binding: Any, data: bytes = b"body", **metadata: str) -> None:
    assert await binding.invoke(InvokeRequest("create", data, metadata)) is None


def envelope(mail: EmailMessage) -> tuple[str, list[str]]:
    return str(mail["X-MailFrom"]), str(mail["X-RcptTo"]).split(", ")


# --- the kit's server -------------------------------------------------------------------------


async def test_what_arrives(server: Backend, maildir: Path, open_binding: Open) -> None:
    before = len(mails(maildir))
    binding = await open_binding(
        server.port,
        emailTo="b@x.org; Cäsar <c@x.org>",
        emailCC="d@x.org",
        emailBCC="e@x.org",
        priority="5",
    )
    await binding.ping()
    body = '<p>Grüße</p>\r\n.\r\n.two\r\n"quoted"'
    await send(binding, body.encode())
    await send(
        binding,
        b'"\\u003cb\\u003eof HTTP\\u003c/b\\u003e"',
        emailFrom="Ada <z@x.org>",
        emailTo="f@x.org",
        emailCC="g@x.org;h@x.org",
        emailBcc="i@x.org",
        subject="Önly this one",
        priority="1",
    )
    first, second = mails(maildir)[before:]
    assert envelope(first) == ("a@x.org", ["b@x.org", "c@x.org", "d@x.org", "e@x.org"])
    assert (first["To"], first["Cc"]) == ("b@x.org, Cäsar <c@x.org>", "d@x.org")
    assert (first["Subject"], first["X-Priority"], first["Bcc"]) == ("hi", "5", None)
    assert first.get_content_type() == "text/html"
    assert first.get_content().splitlines() == body.splitlines()
    assert envelope(second) == ("z@x.org", ["f@x.org", "g@x.org", "h@x.org", "i@x.org"])
    assert (second["From"], second["Subject"]) == ("Ada <z@x.org>", "Önly this one")
    assert second["X-Priority"] == "1"
    assert second.get_content().strip() == "<b>of HTTP</b>"


async def test_many_at_once(server: Backend, maildir: Path, open_binding: Open) -> None:
    binding = await open_binding(server.port)
    subjects = {f"one of many {number}" for number in range(40)}
    await asyncio.gather(*(send(binding, subject=subject) for subject in subjects))
    assert subjects <= {str(mail["Subject"]) for mail in mails(maildir)}


async def test_lines_of_ones_own_are_refused(
    server: Backend, maildir: Path, open_binding: Open
) -> None:
    binding = await open_binding(server.port)
    before = len(mails(maildir))
    for name in ("emailFrom", "emailTo", "emailCC", "emailBCC", "subject", "priority"):
        with pytest.raises(ValueError, match=f"invalid metadata '{name}'"):
            await send(binding, b"", **{name: "b@x.org\r\nBcc: v@x.org"})
    assert len(mails(maildir)) == before


async def test_a_login_that_nobody_asks_for(
    server: Backend, maildir: Path, open_binding: Open
) -> None:
    """As with Dapr: mail catchers of developers know no users."""
    binding = await open_binding(server.port, **LOGIN)
    await send(binding, subject="without a login")
    subjects = [mail["Subject"] for mail in mails(maildir)]
    assert "without a login" in subjects


# --- TLS and logins ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "server.pem"
    pair = authority.issue_cert("127.0.0.1")
    path.write_bytes(pair.private_key_and_cert_chain_pem.bytes())
    return str(path)


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.fixture
def start() -> Iterator[Callable[..., SmtpServer]]:
    running: list[SmtpServer] = []

    def run(*options: str) -> SmtpServer:
        server = SmtpServer(*options)
        running.append(server)
        server.start()
        server.wait_ready()
        return server

    yield run
    for server in running:
        server.stop()


Start = Callable[..., SmtpServer]
USER = ("--login", "ada:pass word")


@pytest.mark.usefixtures("trusted")
async def test_starttls_and_a_login(start: Start, certificate: str, open_binding: Open) -> None:
    server = start("--certificate", certificate, *USER)
    binding = await open_binding(server.port, **LOGIN)
    await send(binding)
    assert [mail["Subject"] for mail in server.mails] == ["hi"]


@pytest.mark.usefixtures("trusted")
async def test_tls_from_the_start(
    start: Start, certificate: str, open_binding: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("--certificate", certificate, "--tls-from-start", *USER)
    # Only root may listen on 465: here another port is the one with TLS.
    monkeypatch.setattr("dapr_sidecar.components.bindings.smtp._TLS_PORT", server.port)
    await send(await open_binding(server.port, **LOGIN))
    assert [mail["Subject"] for mail in server.mails] == ["hi"]


async def test_a_certificate_of_somebody_else(
    start: Start, certificate: str, open_binding: Open
) -> None:
    server = start("--certificate", certificate)
    with pytest.raises(MailError, match=f"mail server 127.0.0.1:{server.port}: .*certificate"):
        await send(await open_binding(server.port))
    assert server.mails == []
    await send(await open_binding(server.port, skipTLSVerify="true"))
    assert len(server.mails) == 1


@pytest.mark.usefixtures("trusted")
async def test_a_wrong_password(start: Start, certificate: str, open_binding: Open) -> None:
    server = start("--certificate", certificate, *USER)
    binding = await open_binding(server.port, user="ada", password="geheim")
    with pytest.raises(MailError, match="refused: 535") as caught:
        await send(binding)
    assert "geheim" not in str(caught.value)


async def test_a_login_on_this_machine_needs_no_tls(start: Start, open_binding: Open) -> None:
    server = start("--login-in-the-open", *USER)
    await send(await open_binding(server.port, **LOGIN))
    assert len(server.mails) == 1


async def test_a_password_is_not_sent_in_the_open(
    start: Start, open_binding: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start("--login-in-the-open", *USER)
    # As if the server were on another machine: there is no other here.
    monkeypatch.setattr("dapr_sidecar.components.bindings.smtp._is_private", lambda _: False)
    with pytest.raises(MailError, match="offers no TLS: the password was not sent"):
        await send(await open_binding(server.port, **LOGIN))
    assert server.mails == []


async def test_a_login_that_is_missing(start: Start, open_binding: Open) -> None:
    server = start("--login-in-the-open", *USER)
    with pytest.raises(MailError, match="refused: 530"):
        await send(await open_binding(server.port))


# --- what goes wrong --------------------------------------------------------------------------


async def test_all_recipients_or_none(start: Start, open_binding: Open) -> None:
    server = start("--refuse", "gone@x.org")
    binding = await open_binding(server.port, emailCC="c@x.org; gone@x.org")
    with pytest.raises(MailError, match=r"refused gone@x\.org: 550 no such user"):
        await send(binding)
    assert server.mails == []
    await send(binding, emailCC="c@x.org")
    assert len(server.mails) == 1


async def test_addresses_that_are_not_ascii(start: Start, open_binding: Open) -> None:
    server = start()
    await send(await open_binding(server.port), emailTo="jörg@x.org")
    assert [str(mail["X-RcptTo"]) for mail in server.mails] == ["jörg@x.org"]


async def test_nobody_there(open_binding: Open) -> None:
    with socket.socket() as claimed:
        claimed.bind(("127.0.0.1", 0))
        port = claimed.getsockname()[1]
        binding = await open_binding(port)
        for use in (binding.ping(), send(binding)):
            with pytest.raises(MailError, match=f"^mail server 127.0.0.1:{port}: "):
                await use


async def test_a_server_that_says_nothing(
    open_binding: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.components.bindings.smtp._MAIL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        binding = await open_binding(silent.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(MailError, match=r"not done within 0\.3 s"):
            await send(binding)
        assert time.monotonic() - began < 20


async def test_nobody_waits_for_a_place_for_ever(
    open_binding: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.components.bindings.smtp._CONNECTIONS", 1)
    monkeypatch.setattr("dapr_sidecar.components.bindings.smtp._MAIL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        binding = await open_binding(silent.getsockname()[1])
        found = await asyncio.gather(*(send(binding) for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in found] == [MailError] * 5
