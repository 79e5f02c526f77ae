"""The same bindings in a real sidecar: from a manifest to the app, and refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.backends import Backend, Backends
from harness.component_table import until
from harness.http_call import acall
from harness.local_app import LocalApp
from harness.sidecar import Sidecar, component
from harness.smtp_server import mails
from harness.stand_in_twilio import ACCOUNT, TOKEN, stand_in_twilio
from harness.stand_in_twitter import KEYS, stand_in_twitter


def refusal(kind: str, metadata: dict[str, str]) -> str:
    """The line with which a sidecar ends that has such a component."""
    sidecar = Sidecar(resources=[component("c", kind, **metadata)], ready="", exit_code=1)
    sidecar.start()
    try:
        assert sidecar.wait_exit(40) == 1, sidecar.log
    finally:
        sidecar.stop()
    (line,) = [line for line in sidecar.lines if "level=fatal" in line]
    return line


@pytest.mark.parametrize(
    ("kind", "metadata", "text"),
    [
        ("bindings.smtp", {"port": "25"}, "missing required metadata field 'host'"),
        (
            "bindings.smtp",
            {"host": "mail", "emailTo": "nobody"},
            "invalid metadata field 'emailTo': 'nobody': 'nobody' is no address",
        ),
        (
            "bindings.postgresql",
            {"maxConns": "4"},
            "missing required metadata field 'connectionString': expected 'host=",
        ),
        (
            "bindings.twilio.sms",
            {"fromNumber": "+1", "accountSid": "AC1"},
            "missing required metadata field 'authToken'",
        ),
        (
            "bindings.twitter",
            {**KEYS, "direction": "input"},
            "missing required metadata field 'query'",
        ),
    ],
)
def test_refused_at_the_start(kind: str, metadata: dict[str, str], text: str) -> None:
    line = refusal(kind, metadata)
    assert f"initialization error occurred for c ({kind}/v1): " in line
    assert text in line


@pytest.fixture
def postgres(backends: Backends) -> Backend:
    return backends.shared("postgres")


@pytest.fixture
def smtp(backends: Backends) -> Backend:
    return backends.shared("smtp")


async def test_all_of_them(postgres: Backend, smtp: Backend) -> None:
    maildir = Path(smtp.facts["maildir"])
    words = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    with stand_in_twilio() as twilio, stand_in_twitter() as twitter:
        login = {"accountSid": ACCOUNT, "authToken": TOKEN, "endpoint": twilio.url}
        place = {"endpoint": twitter.url, "pollInterval": "100ms"}
        resources = [
            component("mail", "bindings.smtp", host="127.0.0.1", port=smtp.port),
            component("db", "bindings.postgres", connectionString=words),
            component("sms", "bindings.twilio.sms", fromNumber="+1500", **login),
            component("x", "bindings.twitter", query="dapr", route="/posts", **place, **KEYS),
        ]
        routes = {"OPTIONS /posts": 200, "POST /posts": 200}
        async with (
            LocalApp(routes) as app,
            Sidecar(app_port=app.port, resources=resources) as sidecar,
        ):

            async def invoke(name: str, operation: str, data: object = None, **more: str) -> object:
                body = {"operation": operation, "data": data, "metadata": more}
                path = f"/v1.0/bindings/{name}"
                answer = await acall(sidecar.http_port, "POST", path, body)
                assert answer.status in (200, 204), answer.body
                return answer.json if answer.body else None

            address = {"emailFrom": "a@x.org", "emailTo": "b@x.org", "subject": sidecar.app_id}
            assert await invoke("mail", "create", "<p>hi & bye</p>", **address) is None
            (mail,) = [mail for mail in mails(maildir) if mail["Subject"] == sidecar.app_id]
            assert mail.get_content().strip() == "<p>hi & bye</p>"

            query = {"sql": "SELECT $1::int + 1, $2::timestamptz", "params": '[1, "2020-01-01Z"]'}
            assert await invoke("db", "query", **query) == [[2, "2020-01-01T00:00:00Z"]]

            assert await invoke("sms", "create", "hello", toNumber="+1600") is None
            assert twilio.messages == [{"To": "+1600", "From": "+1500", "Body": "hello"}]

            await app.wait("/posts")  # whether it wants them
            await until(lambda: twitter.searches)
            made = await invoke("x", "create", "a post")
            assert isinstance(made, dict)
            _, event = await app.wait("/posts", 2)
            assert (event.method, event.json["id"]) == ("POST", made["id"])
            assert event.headers["query"] == "dapr"
