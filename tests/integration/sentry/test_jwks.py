"""A real sentry that asks for tokens of a key set, from a URL, a file or the text itself."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from harness.sentry import Sentry, sign
from harness.stand_in_identity_provider import SigningKey, StandInIdentityProvider

from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

KEY, OTHER = SigningKey("one"), SigningKey("two", "RS256")
AUDIENCE = "spiffe://cluster.local/ns/dapr-system/dapr-sentry"
JWKS = pb.SignCertificateRequest.JWKS


def keys(*several: SigningKey) -> str:
    return json.dumps({"keys": [key.public for key in several]})


def validators(source: object, **options: object) -> dict[str, Any]:
    return {"tokenValidators": [{"name": "JWKS", "options": {"Source": source, **options}}]}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"aud": AUDIENCE, "sub": "spiffe://public/ns/shop/orders", "iat": now, "exp": now + 60}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def token(**changed: Any) -> str:
    return KEY.sign(claims(**changed))


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with Sentry(mtls=validators(keys(KEY))) as sentry, sentry.channel() as channel:
        yield channel


def ask(channel: grpc.Channel, token: str, **fields: Any) -> str:
    return str(sign(channel, token=token, token_validator=JWKS, **fields).svid.id)


def refused(channel: grpc.Channel, token: str, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, token, **fields)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return str(caught.value.details())


def test_a_good_token(channel: grpc.Channel) -> None:
    assert ask(channel, token()) == "spiffe://public/ns/shop/orders"
    assert ask(channel, token(aud=["else", AUDIENCE])) == "spiffe://public/ns/shop/orders"


def test_the_trust_domain_is_the_requests_and_the_subjects(channel: grpc.Channel) -> None:
    subject = "spiffe://shop.example/ns/shop/orders"
    found = ask(channel, token(sub=subject), trust_domain="shop.example")
    assert found == subject
    assert "subject" in refused(channel, token(), trust_domain="shop.example")


@pytest.mark.parametrize("seconds", [-290, 0])
def test_clocks_may_differ_by_five_minutes(channel: grpc.Channel, seconds: int) -> None:
    now = int(time.time())
    assert ask(channel, token(exp=now + seconds))
    assert ask(channel, token(nbf=now - seconds))


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "spiffe://cluster.local/ns/other/dapr-sentry"},
        {"aud": None},
        {"aud": [AUDIENCE + "x"]},
        {"sub": "spiffe://public/ns/shop/payments"},
        {"sub": "spiffe://public/ns/other/orders"},
        {"sub": "spiffe://other/ns/shop/orders"},
        {"sub": "orders"},
        {"sub": None},
        {"exp": -400},
        {"nbf": +400},
    ],
)
def test_wrong_claims(channel: grpc.Channel, changed: dict[str, Any]) -> None:
    """Numbers are seconds from now."""
    now = int(time.time())
    shifted = {k: now + v if isinstance(v, int) else v for k, v in changed.items()}
    assert refused(channel, token(**shifted)).startswith("token validation failed: ")


def test_wrong_signatures(channel: grpc.Channel) -> None:
    head, body, signature = token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    stranger = SigningKey("one").sign(claims())
    for text in (
        "rubbish",
        f"{head}.{body}.",
        f"{none}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        stranger,
        OTHER.sign(claims()),
    ):
        found = refused(channel, text)
        assert found.startswith("token validation failed: ")
        assert text not in found


def test_no_token(channel: grpc.Channel) -> None:
    assert refused(channel, "") == "the request does not contain a token"


def test_a_validator_must_be_named(channel: grpc.Channel) -> None:
    for kind, words in (
        (
            pb.SignCertificateRequest.UNKNOWN,
            "a validator name must be specified in this environment",
        ),
        (pb.SignCertificateRequest.INSECURE, "the requested validator is not enabled"),
        (pb.SignCertificateRequest.KUBERNETES, "the requested validator is not enabled"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            sign(channel, token=token(), token_validator=kind)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == words


# --- where keys come from ---------------------------------------------------------------------


def test_keys_in_base64() -> None:
    source = base64.b64encode(keys(KEY).encode()).decode()
    with Sentry(mtls=validators(source)) as sentry, sentry.channel() as channel:
        assert ask(channel, token())


def test_a_changed_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(keys(OTHER))
    with Sentry(mtls=validators(str(path))) as sentry, sentry.channel() as channel:
        refused(channel, token())
        (tmp_path / "new").write_text(keys(OTHER, KEY))
        (tmp_path / "new").rename(path)
        until = time.monotonic() + 30
        while not is_accepted(channel, token()):  # the file is looked at once a second
            assert time.monotonic() < until
            time.sleep(0.1)
        path.write_text("broken")
        until = time.monotonic() + 30
        while "the keys that were read before stay in use" not in sentry.log:
            assert is_accepted(channel, token())
            assert time.monotonic() < until
            time.sleep(0.1)
        assert is_accepted(channel, token())


def is_accepted(channel: grpc.Channel, token: str) -> bool:
    try:
        ask(channel, token)
    except grpc.RpcError:
        return False
    return True


async def test_a_new_key_at_a_url_counts() -> None:
    async with StandInIdentityProvider() as provider:
        source = validators(
            f"{provider.url}/.well-known/openid-configuration", minRefreshInterval="1001ms"
        )
        async with Sentry(mtls=source) as sentry:

            def accepted(key: SigningKey) -> bool:
                with sentry.channel() as channel:
                    return is_accepted(channel, key.sign(claims()))

            assert await asyncio.to_thread(accepted, provider.keys[0])
            new = SigningKey("second")
            provider.keys.append(new)
            async with asyncio.timeout(40):
                while not await asyncio.to_thread(accepted, new):
                    await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "token validator jwks: option 'source' is required"),
        ({"source": "/nowhere/keys.json"}, "token validator jwks: invalid key set"),
        ({"source": "{}"}, "token validator jwks: invalid key set"),
        ({"source": "http://127.0.0.1:1/keys"}, "cannot be reached"),
        ({"source": keys(KEY), "requestTimeout": "soon"}, "invalid option 'requestTimeout'"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, object], words: str) -> None:
    mtls = {"tokenValidators": [{"name": "jwks", "options": options}]}
    sentry = Sentry(mtls=mtls, ready=False, exit_code=1)
    sentry.start()
    assert sentry.wait_exit(40) == 1
    assert words in sentry.log
