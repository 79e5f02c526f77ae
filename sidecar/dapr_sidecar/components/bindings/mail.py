"""A mail from the words of a component and a request: who, to whom, and the message's bytes."""

from __future__ import annotations

import email.policy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from typing import TypeVar

FIELDS = ("emailFrom", "emailTo", "emailCC", "emailBCC", "subject", "priority")
"""What a component says for all mails and a request for its own."""

T = TypeVar("T")
_NEEDED = ("emailFrom", "emailTo", "subject")
_MAILBOX = re.compile(
    r"""(?: (?P<name> [^<>]*? ) \s* < (?P<named> [^<>\s@]+ @ [^<>\s@]+ ) >
          | (?P<bare> [^<>\s@,;:"()]+ @ [^<>\s@,;:"()]+ ) )""",
    re.VERBOSE,
)
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail server is told. ``sender`` and ``recipients`` are bare addresses."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    international: bool
    """Whether an address has letters that only servers with SMTPUTF8 take."""


def compose(words: Mapping[str, str], body: str) -> Mail:
    """The mail that ``words``, by the names of ``FIELDS``, describe; ``body`` is HTML.

    Raises ``ValueError`` naming the field.
    """
    for name in _NEEDED:
        if not words.get(name):
            raise ValueError(f"missing metadata '{name}': expected of the component or the request")
    sender = _read("emailFrom", words, _sender)
    to = _read("emailTo", words, _recipients)
    copies, hidden = _read("emailCC", words, mailboxes), _read("emailBCC", words, mailboxes)
    everybody = [one.addr_spec for one in (*to, *copies, *hidden)]
    international = not all(one.isascii() for one in (sender.addr_spec, *everybody))
    base = email.policy.SMTPUTF8 if international else email.policy.SMTP
    message = EmailMessage(base.clone(cte_type="7bit"))  # seven bits: every server takes them
    message["From"] = sender
    message["To"] = to
    if copies:
        message["Cc"] = copies
    message["Subject"] = _read("subject", words, single_line)
    message["Date"] = datetime.now(UTC)
    # Without a domain the library asks the network who we are.
    message["Message-ID"] = make_msgid(domain=sender.domain if sender.domain.isascii() else "dapr")
    message["X-Priority"] = str(_read("priority", words, priority))
    message.set_content(body, subtype="html", charset="utf-8")
    return Mail(
        sender.addr_spec, tuple(dict.fromkeys(everybody)), message.as_bytes(), international
    )


def mailboxes(text: str) -> tuple[Address, ...]:
    """The addresses of a list with ``;`` between them. Raises ``ValueError``."""
    single_line(text)
    return tuple(_mailbox(part.strip()) for part in text.split(";") if part.strip())


def single_line(text: str) -> str:
    """Check that nothing in a text can begin another header. Raises ``ValueError``."""
    if _CONTROL.search(text):
        raise ValueError("expected one line without control characters")
    return text


def priority(text: str) -> int:
    """From 1, the highest, to 5; 3 when nothing is said. Raises ``ValueError``."""
    if text not in ("", "1", "2", "3", "4", "5"):
        raise ValueError("expected a number from 1, the highest, to 5")
    return int(text or "3")


def checked_sender(text: str) -> str:
    """A setting with one address, or none. Raises ``ValueError``."""
    if text:
        _sender(text)
    return text


def checked_recipients(text: str) -> str:
    """A setting with addresses, or none. Raises ``ValueError``."""
    mailboxes(text)
    return text


def _sender(text: str) -> Address:
    found = mailboxes(text)
    if len(found) != 1:
        raise ValueError("expected one address")
    return found[0]


def _recipients(text: str) -> tuple[Address, ...]:
    if not (found := mailboxes(text)):
        raise ValueError("expected an address")
    return found


def _mailbox(text: str) -> Address:
    found = _MAILBOX.fullmatch(text)
    if found is None:
        raise ValueError(
            f"'{text}' is no address: expected name@example.com, with ';' between several"
        )
    user, _, domain = (found["named"] or found["bare"]).rpartition("@")
    return Address((found["name"] or "").strip().strip('"'), user, domain)


def _read(name: str, words: Mapping[str, str], read: Callable[[str], T]) -> T:
    try:
        return read(words.get(name, "").strip(" "))
    except ValueError as error:
        raise ValueError(f"invalid metadata '{name}': {error}") from None
