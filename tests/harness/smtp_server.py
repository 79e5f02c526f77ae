"""A real mail server that wants TLS or a login, beyond the kit's plain one; mails are read back."""

from __future__ import annotations

import email.policy
import mailbox
import shutil
import tempfile
import weakref
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

import pytest
from harness import backends
from harness.programs import Program, free_port

PROGRAM = Path(__file__).with_name("smtp_program.py")


def mails(maildir: Path) -> list[EmailMessage]:
    """What a maildir holds, oldest first; ``X-MailFrom`` and ``X-RcptTo`` are the envelope's."""
    if not maildir.is_dir():
        return []
    found = []
    for path in sorted((maildir / "new").iterdir(), key=_number):
        parsed = message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        found.append(parsed)
    return found


def _number(path: Path) -> int:
    """A server counts its mails in their names; the times of two may be the same."""
    return int(path.name.partition("Q")[2].partition(".")[0])


class SmtpServer(Program):
    """aiosmtpd, with ``options`` of ``smtp_program.py``. Skips the test without the kit."""

    def __init__(self, *options: str) -> None:
        backends.require("smtp")
        python = backends._CACHE / "py" / "smtp" / "bin" / "python"
        if not python.exists():
            pytest.skip(f"there is no aiosmtpd of the kit at {python}")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="dapr-smtp-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        mailbox.Maildir(self.folder / "mail", create=True)
        command = [str(python), "-u", str(PROGRAM), str(self.port), str(self.folder / "mail")]
        super().__init__([*command, *options], name="smtp", exit_code=None)

    def is_ready(self) -> bool:
        return "ready" in self.stdout_lines

    @property
    def mails(self) -> list[EmailMessage]:
        """What was taken so far."""
        return mails(self.folder / "mail")
