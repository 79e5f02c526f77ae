"""Manifests of object stores that are wrong: the field is named, before anything is connected."""

from __future__ import annotations

import pytest

from dapr_sidecar.components.aws.s3 import Place, place
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.blobstorage_settings import (
    BlobStorageSettings,
    account_of,
)
from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.registry import component_class

S3 = {"bucket": "photos", "region": "eu-west-1"}
KEY = "c2VjcmV0"
BLOB = {"accountName": "shop", "accountKey": KEY, "containerName": "photos"}
GCS = {"bucket": "photos", "project_id": "p"}
WRONG = [
    ("bindings.aws.s3", {"region": "eu-west-1"}, "bucket", ""),
    ("bindings.aws.s3", {**S3, "bucket": "a/b"}, "bucket", "expected a bucket's name"),
    ("bindings.aws.s3", {**S3, "accessKey": "a"}, "secretKey", ""),
    ("bindings.aws.s3", {**S3, "endpoint": "ftp://x"}, "endpoint", "expected a host or URL"),
    ("bindings.aws.s3", {**S3, "trustAnchorArn": "arn:x"}, "trustAnchorArn", "not available"),
    ("bindings.azure.blobstorage", {**BLOB, "accountName": ""}, "accountName", ""),
    ("bindings.azure.blobstorage", {"accountName": "a", "accountKey": KEY}, "containerName", ""),
    ("bindings.azure.blobstorage", {**BLOB, "containerName": "A"}, "containerName", "lower-case"),
    ("bindings.azure.blobstorage", {**BLOB, "accountKey": "not!"}, "accountKey", "base64"),
    ("bindings.azure.blobstorage", {**BLOB, "endpoint": "host"}, "endpoint", "expected a URL"),
    (
        "bindings.azure.blobstorage",
        {**BLOB, "publicAccessLevel": "all"},
        "publicAccessLevel",
        "expected one of none, blob, container",
    ),
    (
        "bindings.azure.blobstorage",
        {**BLOB, "getBlobRetryCount": "often"},
        "getBlobRetryCount",
        "expected a whole number",
    ),
    (
        "bindings.azure.blobstorage",
        {**BLOB, "getBlobRetryCount": "0"},
        "getBlobRetryCount",
        "expected a number from 1",
    ),
    (
        "bindings.azure.blobstorage",
        {"containerName": "photos", "connectionString": "AccountName"},
        "connectionString",
        "expected name=value",
    ),
    (
        "bindings.azure.blobstorage",
        {"containerName": "photos", "connectionString": "BlobEndpoint=x;SharedAccessSignature=y"},
        "connectionString",
        "AccountKey",
    ),
    (
        "bindings.azure.blobstorage",
        {"accountName": "shop", "containerName": "photos", "azureClientSecret": "x"},
        "azureTenantId",
        "",
    ),
    ("bindings.gcp.bucket", {"project_id": "p"}, "bucket", ""),
    ("bindings.gcp.bucket", {"bucket": "photos"}, "projectID", ""),
    ("bindings.gcp.bucket", {**GCS, "bucket": "A b"}, "bucket", "expected a bucket's name"),
    ("bindings.gcp.bucket", {**GCS, "private_key": "k"}, "clientEmail", ""),
    (
        "bindings.gcp.bucket",
        {**GCS, "private_key": "k", "client_email": "c"},
        "privateKey",
        "expected an RSA key",
    ),
    ("bindings.gcp.bucket", {**GCS, "signTTL": "soon"}, "signTTL", "expected a Go duration"),
    ("bindings.gcp.bucket", {**GCS, "endpoint": "ftp://x"}, "endpoint", "expected a URL"),
]


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "STORAGE_EMULATOR_HOST"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_APPLICATION_CREDENTIALS"),
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("type_name", "properties", "field", "expected"), WRONG)
def test_the_field_is_named(
    type_name: str, properties: dict[str, str], field: str, expected: str
) -> None:
    kind = component_class(type_name, "v1")
    with pytest.raises(SettingsError, match=rf"metadata fields? '{field}'.*{expected}"):
        kind(decode_settings(kind.settings, properties), ComponentContext("c", "app"))


def test_no_secret_is_shown() -> None:
    given = {**BLOB, "accountKey": "hidden!"}
    kind = component_class("bindings.azure.blobstorage", "v1")
    with pytest.raises(SettingsError) as caught:
        kind(decode_settings(kind.settings, given), ComponentContext("c", "app"))
    assert "hidden" not in str(caught.value)
    settings = decode_settings(kind.settings, {**BLOB, "connectionString": "AccountKey=hidden"})
    assert "hidden" not in repr(settings)
    assert KEY not in repr(settings)


# --- where a bucket or an account is ------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "endpoint", "style", "plain", "origin", "path"),
    [
        ("b", "", False, False, "https://b.s3.eu-west-1.amazonaws.com", ""),
        ("b", "", True, False, "https://s3.eu-west-1.amazonaws.com", "/b"),
        ("b.c", "", False, False, "https://s3.eu-west-1.amazonaws.com", "/b.c"),
        ("b.c", "http://h", False, False, "http://b.c.h", ""),
        ("b", "s3.example.com", False, False, "https://b.s3.example.com", ""),
        ("b", "s3.example.com:9000", False, True, "http://b.s3.example.com:9000", ""),
        ("b", "http://127.0.0.1:9000", False, False, "http://127.0.0.1:9000", "/b"),
        ("b", "https://h/s3/", True, False, "https://h", "/s3/b"),
    ],
)
def test_where_a_bucket_is(
    bucket: str, endpoint: str, style: bool, plain: bool, origin: str, path: str
) -> None:
    found = place(bucket, "eu-west-1", endpoint, path_style=style, plain=plain)
    assert found == Place(origin, path)


def test_where_a_bucket_in_china_is() -> None:
    found = place("b", "cn-north-1", "", path_style=False, plain=False)
    assert found.origin == "https://b.s3.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("more", "origin", "path"),
    [
        ({}, "https://shop.blob.core.windows.net", ""),
        (
            {"azureEnvironment": "AzureChinaCloud"},
            "https://shop.blob.core.chinacloudapi.cn",
            "",
        ),
        ({"endpoint": "http://127.0.0.1:10000"}, "http://127.0.0.1:10000", "/shop"),
        ({"endpoint": "http://127.0.0.1:10000/shop/"}, "http://127.0.0.1:10000", "/shop"),
        ({"endpoint": "http://azurite.dev.svc:10000"}, "http://azurite.dev.svc:10000", "/shop"),
        ({"endpoint": "https://shop.blob.example"}, "https://shop.blob.example", ""),
        (
            {"connectionString": "BlobEndpoint=http://h:1/shop;AccountKey=c2VjcmV0"},
            "http://h:1",
            "/shop",
        ),
        (
            {"connectionString": "DefaultEndpointsProtocol=http;EndpointSuffix=core.example"},
            "http://shop.blob.core.example",
            "",
        ),
    ],
)
def test_where_an_account_is(more: dict[str, str], origin: str, path: str) -> None:
    found = account_of(decode_settings(BlobStorageSettings, {**BLOB, **more}))
    assert (found.name, found.key) == ("shop", b"secret")
    assert (found.origin, found.path) == (origin, path)


def test_old_names_of_the_fields() -> None:
    given = {"storageAccount": "shop", "storageAccessKey": KEY, "container": "photos"}
    found = decode_settings(BlobStorageSettings, given)
    assert (found.account, found.account_key, found.container) == ("shop", KEY, "photos")
