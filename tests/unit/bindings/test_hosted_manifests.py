"""Manifests that cannot work fail when they are loaded, and say which field is wrong and why."""

from __future__ import annotations

from typing import Any

import pytest
from harness.block_api import make

from dapr_sidecar.components.bindings.postgresql import PostgresBinding
from dapr_sidecar.components.bindings.smtp import SmtpBinding
from dapr_sidecar.components.bindings.twilio_sms import TwilioSmsBinding
from dapr_sidecar.components.bindings.twitter import TwitterBinding
from dapr_sidecar.components.metadata import SettingsError

GOOD: dict[type[Any], dict[str, str]] = {
    SmtpBinding: {
        "host": "mail",
        "user": "u",
        "password": "geheim",
        "emailFrom": "a@x.org",
        "emailTo": "b@x.org;c@x.org",
        "emailCC": "Dora <d@x.org>",
        "subject": "s",
        "priority": "1",
        "skipTLSVerify": "true",
        "port": "25",
    },
    TwilioSmsBinding: {"fromNumber": "+1", "accountSid": "AC1", "authToken": "geheim"},
    PostgresBinding: {"connectionString": "host=db user=u password=geheim"},
    TwitterBinding: {
        "consumerKey": "k",
        "consumerSecret": "geheim",
        "accessToken": "t",
        "accessSecret": "geheim",
        "query": "dapr",
    },
}
WRONG: list[tuple[type[Any], dict[str, str], str]] = [
    (SmtpBinding, {"host": ""}, "missing required metadata field 'host'"),
    (SmtpBinding, {"password": ""}, "missing required metadata field 'password': 'user' is given"),
    (SmtpBinding, {"user": ""}, "missing required metadata field 'user': 'password' is given"),
    *(
        (SmtpBinding, {"port": port}, f"invalid metadata field 'port': '{port}': expected a number")
        for port in ("0", "65536", "smtp", "-1")
    ),
    *(
        (
            SmtpBinding,
            {name: "nobody"},
            f"invalid metadata field '{name}': 'nobody': 'nobody' is no",
        )
        for name in ("emailFrom", "emailTo", "emailCC", "emailBCC")
    ),
    (SmtpBinding, {"emailFrom": "a@x.org;b@x.org"}, "'emailFrom': .* expected one address"),
    (SmtpBinding, {"emailTo": "a@x.org\nb"}, "(?s)'emailTo': .* expected one line"),
    (SmtpBinding, {"subject": "a\r\nBcc: b@x.org"}, "(?s)'subject': .* expected one line"),
    (SmtpBinding, {"priority": "9"}, "invalid metadata field 'priority': '9': expected a number"),
    *(
        (TwilioSmsBinding, {name: ""}, f"missing required metadata field '{name}'")
        for name in ("fromNumber", "accountSid", "authToken")
    ),
    (TwilioSmsBinding, {"timeout": "soon"}, "invalid metadata field 'timeout': 'soon': .*expected"),
    (TwilioSmsBinding, {"timeout": "0"}, "invalid metadata field 'timeout': expected a duration"),
    (TwilioSmsBinding, {"endpoint": "twilio"}, "'endpoint': 'twilio': expected a URL"),
    (
        PostgresBinding,
        {"connectionString": ""},
        "missing required metadata field 'connectionString': expected 'host=",
    ),
    (PostgresBinding, {"connectionString": "db"}, "'connectionString': key=value is expected"),
    (PostgresBinding, {"maxConns": "many"}, "'maxConns': 'many': expected a whole number"),
    (PostgresBinding, {"queryExecMode": "fast"}, "'queryExecMode': 'fast': .*cache_statement"),
    *(
        (TwitterBinding, {name: ""}, f"missing required metadata field '{name}': expected the four")
        for name in ("consumerKey", "consumerSecret", "accessToken", "accessSecret")
    ),
    (
        TwitterBinding,
        {"query": "", "direction": "output, Input"},
        "missing required metadata field 'query': expected what an input binding looks for",
    ),
    (TwitterBinding, {"pollInterval": "0s"}, "'pollInterval': expected a duration above 0"),
    (TwitterBinding, {"pollInterval": "often"}, "'pollInterval': 'often': .*expected"),
    (TwitterBinding, {"endpoint": "ftp://x"}, "'endpoint': 'ftp://x': expected a URL"),
]


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
async def test_good_ones_are_taken(kind: type[Any]) -> None:
    await make(kind, **GOOD[kind]).close()


@pytest.mark.parametrize(("kind", "change", "message"), WRONG)
def test_wrong_ones_are_refused(kind: type[Any], change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        make(kind, **{**GOOD[kind], **change})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_settings_show_no_secret(kind: type[Any]) -> None:
    assert "geheim" not in repr(make(kind, **GOOD[kind])._settings)


async def test_an_input_without_a_query_does_not_start() -> None:
    binding = make(TwitterBinding, **{**GOOD[TwitterBinding], "query": ""})

    async def handler(_: Any) -> bytes | None:
        return None

    with pytest.raises(SettingsError, match="'query'"):
        await binding.start(handler)
    await binding.close()


async def test_a_bearer_token_alone_is_enough_to_read() -> None:
    await make(TwitterBinding, bearerToken="t").close()
