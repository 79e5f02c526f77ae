"""``bindings.twilio.sms``: text messages through Twilio."""

from __future__ import annotations

import base64
import urllib.parse
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.text import text_of
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.web import WebService

_SHOWN_CHARACTERS = 1000
"""Of an answer that is an error; Twilio's own are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSmsSettings:
    """Names as in Dapr."""

    from_number: str = setting("fromNumber", help="number or name that messages come from")
    to_number: str = setting(
        "toNumber", default="", help="number they go to; when empty, a request names it"
    )
    account_sid: str = setting("accountSid", help="id of the account")
    auth_token: str = setting("authToken", secret=True, help="the account's token")
    timeout: timedelta = setting(
        "timeout", default=timedelta(minutes=5), help="how long a request may take"
    )
    endpoint: str = setting(
        "endpoint",
        default="https://api.twilio.com",
        help="URL of the service, for its other regions and for emulators",
    )


class TwilioError(Exception):
    """Twilio refused; the text has its words."""


class TwilioSmsBinding(OutputBinding):
    """``create`` sends the data as a message; it is sent once, whatever becomes of the answer."""

    settings: ClassVar[type[Any]] = TwilioSmsSettings
    operations = ("create",)

    def __init__(self, settings: TwilioSmsSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        seconds = settings.timeout.total_seconds()
        if seconds <= 0:
            raise SettingsError(
                "invalid metadata field 'timeout': expected a duration above 0 such as 30s"
            )
        try:
            self._service = WebService("Twilio", settings.endpoint, seconds=seconds)
        except ValueError as error:
            raise SettingsError(
                f"invalid metadata field 'endpoint': '{settings.endpoint}': {error}"
            ) from None
        account = urllib.parse.quote(settings.account_sid, safe="")
        self._target = f"/2010-04-01/Accounts/{account}/Messages.json"
        login = f"{settings.account_sid}:{settings.auth_token}".encode()
        self._headers = {
            "authorization": f"Basic {base64.b64encode(login).decode()}",
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }

    async def close(self) -> None:
        await self._service.close()

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        to_number = self._options.to_number or request.metadata.get("toNumber", "")
        if not to_number:
            raise ValueError(
                "missing metadata 'toNumber': expected a phone number such as +14155550100, "
                "of the request or of the component"
            )
        form = {
            "To": to_number,
            "From": self._options.from_number,
            "Body": text_of(request.data),
        }
        body = urllib.parse.urlencode(form).encode()
        answer = await self._service.call("POST", self._target, self._headers, body)
        if not 200 <= answer.status < 300:
            said = answer.body.decode("utf-8", "replace")[:_SHOWN_CHARACTERS]
            raise TwilioError(f"error from Twilio ({answer.status}): {said}")
        return None
