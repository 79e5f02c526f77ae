"""Mails as bytes: who gets them, what stands in them, what is refused."""

from __future__ import annotations

import email.policy
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.components.bindings.mail import Mail, compose, mailboxes

WORDS = {"emailFrom": "a@x.org", "emailTo": "b@x.org", "subject": "hi"}


def parsed(mail: Mail) -> EmailMessage:
    found = message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_a_mail() -> None:
    words = {
        "emailFrom": "Ada <ada@x.org>",
        "emailTo": "b@x.org; Cäsar <c@x.org> ;",
        "emailCC": '"Doe, John" <d@x.org>;b@x.org',
        "emailBCC": "e@x.org",
        "subject": "Grüße",
        "priority": "1",
    }
    mail = compose(words, "<b>ä</b>")
    assert mail.sender == "ada@x.org"
    assert mail.recipients == ("b@x.org", "c@x.org", "d@x.org", "e@x.org")
    message = parsed(mail)
    assert message["From"] == "Ada <ada@x.org>"
    assert message["To"] == "b@x.org, Cäsar <c@x.org>"
    assert message["Cc"] == '"Doe, John" <d@x.org>, b@x.org'
    assert message["Bcc"] is None
    assert b"e@x.org" not in mail.content, "nobody sees who else got it"
    assert message["Subject"] == "Grüße"
    assert message["X-Priority"] == "1"
    assert message["Message-ID"].endswith("@x.org>")
    assert message["Date"]
    assert message.get_content_type() == "text/html"
    assert message.get_content() == "<b>ä</b>\r\n"


def test_every_server_takes_it() -> None:
    mail = compose({**WORDS, "subject": "ä" * 500}, "ü" * 5000 + "\r\n" + "x" * 5000)
    assert mail.content.isascii()
    assert max(map(len, mail.content.split(b"\r\n"))) < 100
    assert not mail.international


def test_addresses_that_are_not_ascii() -> None:
    mail = compose({**WORDS, "emailTo": "jörg@x.org"}, "")
    assert mail.international
    assert mail.recipients == ("jörg@x.org",)
    assert parsed(mail)["To"] == "jörg@x.org"


def test_defaults() -> None:
    message = parsed(compose(WORDS, ""))
    assert message["X-Priority"] == "3"
    assert message["Cc"] is None


@pytest.mark.parametrize("name", WORDS)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^missing metadata '{name}'"):
        compose({**WORDS, name: ""}, "")


INJECTIONS = ("a@x.org\r\nBcc: v@x.org", "a@x.org\n", "a\r@x.org", "A\nB <a@x.org>", "a@x.org\0")


@pytest.mark.parametrize("name", ["emailFrom", "emailTo", "emailCC", "emailBCC", "subject"])
@pytest.mark.parametrize("text", INJECTIONS)
def test_no_line_of_ones_own(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"invalid metadata '{name}': expected one line"):
        compose({**WORDS, name: text}, "")


@pytest.mark.parametrize("name", ["emailFrom", "emailTo", "emailCC", "emailBCC"])
@pytest.mark.parametrize(
    "text", ["nobody", "a@", "@x.org", "a b@x.org", "a@x.org, b@x.org", "<a@x.org", "a@b@x.org"]
)
def test_no_address(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"invalid metadata '{name}': '.*' is no address"):
        compose({**WORDS, name: text}, "")


def test_one_sender_and_some_recipient() -> None:
    with pytest.raises(ValueError, match="invalid metadata 'emailFrom': expected one address"):
        compose({**WORDS, "emailFrom": "a@x.org;b@x.org"}, "")
    with pytest.raises(ValueError, match="invalid metadata 'emailTo': expected an address"):
        compose({**WORDS, "emailTo": " ; "}, "")


@pytest.mark.parametrize("text", ["0", "6", "high", "1.0", "٣"])
def test_priorities(text: str) -> None:
    with pytest.raises(ValueError, match="invalid metadata 'priority': expected a number from 1"):
        compose({**WORDS, "priority": text}, "")


@given(st.text(), st.text())
def test_whatever_is_given_the_head_keeps_its_lines(subject: str, to: str) -> None:
    """Either it is refused, or the head has exactly the fields it should have."""
    try:
        mail = compose({**WORDS, "subject": subject, "emailTo": to}, "body")
    except ValueError:
        return
    names = sorted(name.lower() for name, _ in parsed(mail).items())
    assert names == [
        *("content-transfer-encoding", "content-type", "date", "from", "message-id"),
        *("mime-version", "subject", "to", "x-priority"),
    ]


@given(st.from_regex(r"[^<>@;\x00-\x1f\x7f]{0,20}<[a-z]+@x>\r?\n?[a-z:]*", fullmatch=True))
def test_a_mailbox_is_one_line(text: str) -> None:
    try:
        found = mailboxes(text)
    except ValueError:
        return
    assert all("\n" not in str(one) and "\r" not in str(one) for one in found)
