"""A stand-in for Twilio's REST API: messages of one account.

Written from the API's reference: login, form, the answer for a message, the answers for errors. It
proves that our client does what that text says, not how the service behaves.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.stand_in_server import Answered, Asked, serving

ACCOUNT, TOKEN = "AC0123456789abcdef0123456789abcdef", "stand-in-token"
_PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
_LOGIN = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()


class StandInTwilio:
    """Keeps the forms of the messages it took; refuses what the service refuses."""

    def __init__(self) -> None:
        self.url = ""
        self.messages: list[dict[str, str]] = []
        self.asked = 0

    def answer(self, asked: Asked) -> Answered:
        self.asked += 1
        if asked.headers.get("authorization") != _LOGIN:
            return _refused(401, 20003, "Authenticate")
        if (asked.method, asked.path) != ("POST", _PATH):
            return _refused(404, 20404, f"The requested resource {asked.path} was not found")
        if asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            return _refused(400, 21602, "Message body is required.")
        form = asked.form
        if not form.get("To", "").lstrip("+").isdigit():
            return _refused(400, 21211, f"Invalid 'To' Phone Number: {form.get('To')}")
        if not form.get("Body"):
            return _refused(400, 21602, "Message body is required.")
        self.messages.append(form)
        return Answered(201, _message(form, len(self.messages)))


def _message(form: dict[str, str], number: int) -> dict[str, Any]:
    return {
        "sid": f"SM{number:032x}",
        "account_sid": ACCOUNT,
        "to": form["To"],
        "from": form["From"],
        "body": form["Body"],
        "status": "queued",
        "direction": "outbound-api",
        "num_segments": "1",
        "error_code": None,
        "error_message": None,
    }


def _refused(status: int, code: int, message: str) -> Answered:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return Answered(status, {"code": code, "message": message, "more_info": more, "status": status})


@contextmanager
def stand_in_twilio() -> Iterator[StandInTwilio]:
    """One that serves for as long as a test needs it."""
    twilio = StandInTwilio()
    with serving(twilio.answer) as twilio.url:
        yield twilio
