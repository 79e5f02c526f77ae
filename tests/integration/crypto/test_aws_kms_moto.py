"""``crypto.aws.kms`` on moto: symmetric keys, aliases, refusals; and requests for key pairs."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.backends import Backend, Backends
from harness.block_api import make
from harness.crypto_preparations import make_kms_key
from harness.secret_preparations import aws_call

from dapr_sidecar.components.crypto.aws_kms import KmsCrypto
from dapr_sidecar.components.crypto.keys import KeyUseError
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.web import WebError

LOGIN = {"region": "eu-west-1", "accessKey": "a", "secretKey": "s3cret"}


@pytest.fixture
def aws(backends: Backends) -> Backend:
    return backends.shared("aws")


@pytest.fixture
async def provider(aws: Backend) -> AsyncIterator[KmsCrypto]:
    found = make(KmsCrypto, endpoint=f"http://{aws.address}", **LOGIN)
    await found.open()
    yield found
    await found.close()


async def test_a_key_by_its_id_its_arn_and_its_alias(provider: KmsCrypto, aws: Backend) -> None:
    name = f"alias/k{os.urandom(4).hex()}"
    key_id = make_kms_key(aws.address, name)
    facts = {"backend": aws.address}
    described = aws_call(facts, "kms", "TrentService.DescribeKey", KeyId=key_id)
    key = os.urandom(32)
    for called in (name, key_id, described["KeyMetadata"]["Arn"]):
        wrapped = await provider.wrap_key(key, "A256KW", called)
        assert await provider.unwrap_key(wrapped, "A256KW", name) == key
    text = base64.b64encode(wrapped).decode()
    seen = aws_call(facts, "kms", "TrentService.Decrypt", CiphertextBlob=text, KeyId=key_id)
    assert base64.b64decode(seen["Plaintext"]) == key  # any client of the service can


async def test_a_key_that_was_renewed_opens_what_it_wrapped_before(
    provider: KmsCrypto, aws: Backend
) -> None:
    """The service keeps a key's older material itself."""
    name = f"alias/k{os.urandom(4).hex()}"
    key_id, facts = make_kms_key(aws.address, name), {"backend": aws.address}
    wrapped = await provider.wrap_key(bytes(32), "A256KW", name)
    aws_call(facts, "kms", "TrentService.RotateKeyOnDemand", KeyId=key_id)
    assert await provider.unwrap_key(wrapped, "A256KW", name) == bytes(32)


async def test_whether_it_can_serve(provider: KmsCrypto) -> None:
    await provider.ping()
    elsewhere = make(KmsCrypto, endpoint="http://127.0.0.1:1", **LOGIN)
    with pytest.raises(WebError, match="cannot be reached"):
        await elsewhere.ping()
    with pytest.raises(KeyUseError, match=r"key 'alias/x': .* cannot be reached"):
        await elsewhere.wrap_key(bytes(32), "A256KW", "alias/x")
    await elsewhere.close()


@pytest.mark.parametrize(
    ("name", "algorithm", "text"),
    [
        ("alias/none", "A256KW", "key 'alias/none': AWS kms at .* NotFound"),
        ("none", "A256KW", "key 'none': AWS kms at .* NotFound"),
        ("alias/none", "A128CBC-NOPAD", "use one of RSA-OAEP-256, A256KW"),
    ],
)
async def test_keys_that_cannot(provider: KmsCrypto, name: str, algorithm: str, text: str) -> None:
    with pytest.raises(KeyUseError, match=text):
        await provider.wrap_key(bytes(32), algorithm, name)


@pytest.mark.parametrize(
    ("algorithm", "word"),
    [("RSA-OAEP-256", "RSAES_OAEP_SHA_256"), ("A256KW", "SYMMETRIC_DEFAULT")],
)
async def test_requests_name_the_algorithm(
    monkeypatch: pytest.MonkeyPatch, algorithm: str, word: str
) -> None:
    """What goes over the wire: moto encrypts with symmetric keys whatever it is asked for."""
    provider = make(KmsCrypto, **LOGIN)
    asked: list[tuple[str, Any]] = []

    async def call(operation: str, request: Any) -> dict[str, str]:
        asked.append((operation, request))
        return {"CiphertextBlob": "d3JhcHBlZA==", "Plaintext": "cGxhaW4="}

    monkeypatch.setattr(provider._client, "call", call)
    assert await provider.wrap_key(b"plain", algorithm, "alias/one") == b"wrapped"
    assert await provider.unwrap_key(b"wrapped", algorithm, "alias/one") == b"plain"
    common = {"KeyId": "alias/one", "EncryptionAlgorithm": word}
    assert asked == [
        ("Encrypt", {**common, "Plaintext": "cGxhaW4="}),
        ("Decrypt", {**common, "CiphertextBlob": "d3JhcHBlZA=="}),
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"region": ""}, "missing required metadata field 'region'"),
        ({"secretKey": ""}, "missing required metadata field 'secretKey'"),
        ({"endpoint": "here"}, "'endpoint': .* expected a URL"),
        ({"requestTimeout": "-1s"}, "'requestTimeout': .* expected a duration above 0"),
    ],
)
def test_manifests_that_are_wrong(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], text: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=text):
        make(KmsCrypto, **{**LOGIN, **changes})
