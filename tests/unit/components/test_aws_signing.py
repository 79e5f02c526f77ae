"""Signatures as AWS's documentation shows them, and where credentials come from."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from dapr_sidecar.components.aws.credentials import CredentialsError, CredentialSource
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.aws.signing import Credentials, Scope, presigned, sign
from dapr_sidecar.components.metadata import SettingsError, decode_settings

DOCUMENTED = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


def test_the_documented_example() -> None:
    """ListUsers of IAM, from the description of the signing process."""
    headers = sign(
        "GET",
        "/?Action=ListUsers&Version=2010-05-08",
        {
            "Host": "iam.amazonaws.com",
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        },
        b"",
        DOCUMENTED,
        Scope("us-east-1", "iam"),
        datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_session_tokens_are_signed() -> None:
    credentials = Credentials("a", "b", "t0ken")
    scope = Scope("r", "s")
    headers = sign("POST", "/", {"host": "h"}, b"{}", credentials, scope, datetime.now(UTC))
    assert headers["x-amz-security-token"] == "t0ken"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in headers["authorization"]


def test_a_signature_in_the_query() -> None:
    """As RDS takes it for a password; computed here step by step from the specification."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    scope = Scope("eu-west-1", "rds-db")
    keys = Credentials(DOCUMENTED.access_key, DOCUMENTED.secret_key, "t/ken")
    text = presigned("/?Action=connect&DBUser=me%40x", "db:5432", keys, scope, now, 900)
    url, _, signature = text.rpartition("&X-Amz-Signature=")
    query = (
        "Action=connect&DBUser=me%40x&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-west-1%2Frds-db%2Faws4_request"
        "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-Security-Token=t%2Fken"
        "&X-Amz-SignedHeaders=host"
    )
    assert url == f"db:5432/?{query}"
    request = f"GET\n/\n{query}\nhost:db:5432\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    to_sign = (
        "AWS4-HMAC-SHA256\n20260102T030405Z\n20260102/eu-west-1/rds-db/aws4_request\n"
        + hashlib.sha256(request.encode()).hexdigest()
    )
    key = ("AWS4" + keys.secret_key).encode()
    for part in ("20260102", "eu-west-1", "rds-db", "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert signature == key.hex()


S3_DOCUMENTED = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
S3_MOMENT = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_documented_object_of_s3() -> None:
    """GET Object, from S3's examples of the signing process."""
    headers = sign(
        "GET",
        "/test.txt",
        {
            "Host": "examplebucket.s3.amazonaws.com",
            "Range": "bytes=0-9",
            "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
        },
        b"",
        S3_DOCUMENTED,
        Scope("us-east-1", "s3"),
        S3_MOMENT,
    )
    assert headers["authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_the_documented_upload_of_s3() -> None:
    """PUT Object: its path is not encoded a second time."""
    headers = sign(
        "PUT",
        "/test%24file.text",
        {
            "Host": "examplebucket.s3.amazonaws.com",
            "Date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
        },
        b"",
        S3_DOCUMENTED,
        Scope("us-east-1", "s3"),
        S3_MOMENT,
    )
    assert headers["authorization"].endswith(
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


def test_the_documented_url_of_s3() -> None:
    host, scope = "examplebucket.s3.amazonaws.com", Scope("us-east-1", "s3")
    text = presigned("/test.txt", host, S3_DOCUMENTED, scope, S3_MOMENT, 86400)
    assert text == (
        "examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_keys_are_not_shown() -> None:
    assert "s3cret" not in repr(Credentials("a", "s3cret", "s3cret"))


# --- credentials ------------------------------------------------------------------------------


class Service(BaseHTTPRequestHandler):
    """Stands in for the token service, the container's endpoint and the machine's metadata."""

    asked: ClassVar[list[tuple[str, str]]]
    lasting: ClassVar[float]

    def do_GET(self) -> None:
        if self.path.endswith("security-credentials/"):
            return self.reply(200, b"my-role\n")
        if self.path == "/refused":
            return self.reply(403, b"no")
        type(self).asked.append((self.headers.get("Authorization", ""), self.path))
        return self.reply(200, self.keys_as_json())

    def do_PUT(self) -> None:
        self.reply(200, b"metadata-token")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "forbidden" in body:
            return self.reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        type(self).asked.append((self.headers.get("Authorization", ""), body))
        words = json.loads(self.keys_as_json())
        words["SessionToken"] = words.pop("Token")
        text = "".join(f"<{name}>{value}</{name}>" for name, value in words.items())
        return self.reply(200, text.encode())

    def keys_as_json(self) -> bytes:
        moment = datetime.fromtimestamp(time.time() + self.lasting, UTC)
        return json.dumps(
            {
                "AccessKeyId": f"key{len(self.asked)}",
                "SecretAccessKey": "s",
                "Token": "t",
                "Expiration": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ).encode()

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[str, type[Service]]]:
    class Mine(Service):
        asked: ClassVar[list[tuple[str, str]]] = []
        lasting = 3600.0

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Mine
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def nothing_in_the_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def source(**properties: str) -> CredentialSource:
    return CredentialSource(decode_settings(AwsSettings, properties), "eu-west-1")


async def test_keys_of_the_manifest() -> None:
    found = await source(accessKey="a", secretKey="b", sessionToken="c").get()
    assert (found.access_key, found.secret_key, found.session_token) == ("a", "b", "c")


async def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert (await source().get()).access_key == "a"


async def test_the_shared_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b%c\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with pytest.raises(CredentialsError):
        await source().get()
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert (await source().get()).secret_key == "b%c"


async def test_a_role_by_stand_in_token_service(
    service: tuple[str, type[Service]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = service
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    role = source(accessKey="a", secretKey="b", assumeRoleArn="arn:x", sessionName="me")
    found = await role.get()
    assert (found.access_key, found.session_token) == ("key1", "t")
    ((authorization, body),) = seen.asked
    assert "Credential=a/" in authorization
    assert "Action=AssumeRole&RoleArn=arn%3Ax&RoleSessionName=me" in body
    assert (await role.get()).access_key == "key1"  # kept


async def test_a_web_identity_by_stand_in_token_service(
    service: tuple[str, type[Service]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, seen = service
    (tmp_path / "token").write_text("jwt\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:x")
    await source().get()
    ((authorization, body),) = seen.asked
    assert authorization == ""
    assert "WebIdentityToken=jwt&" in body


async def test_a_container_and_a_machine_by_stand_ins(
    service: tuple[str, type[Service]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = service
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/keys?a=b")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "mine")
    await source().get()
    assert seen.asked == [("mine", "/keys?a=b")]
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    await source().get()
    assert seen.asked[1][1].endswith("/security-credentials/my-role")


async def test_credentials_are_renewed_before_they_end(
    service: tuple[str, type[Service]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = service
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)  # no path, either
    found = source()
    seen.lasting = 200.0  # less than the time before the end at which new ones are fetched
    assert (await found.get()).access_key == "key1"
    assert (await found.get()).access_key == "key2"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/refused")
    assert (await found.get()).access_key == "key2"  # still good


async def test_a_refusal_says_who_and_why(
    service: tuple[str, type[Service]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = service
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    with pytest.raises(CredentialsError, match="refused AssumeRole: AccessDenied"):
        await source(accessKey="a", secretKey="b", assumeRoleArn="forbidden").get()


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "missing required metadata field 'region'"),
        ({"region": "r", "accessKey": "a"}, "missing required metadata field 'secretKey'"),
        ({"region": "r", "secretKey": "a"}, "missing required metadata field 'accessKey'"),
        ({"region": "r", "trustAnchorArn": "a"}, "'trustAnchorArn': IAM Roles Anywhere"),
    ],
)
def test_what_is_wrong_is_named(properties: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        decode_settings(AwsSettings, properties).checked_region()
