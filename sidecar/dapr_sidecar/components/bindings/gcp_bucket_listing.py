"""Objects of ``bindings.gcp.bucket`` in the form that Dapr's documentation shows."""

from __future__ import annotations

import base64
from typing import Any

from dapr_sidecar.components.bindings.objects import Arguments
from dapr_sidecar.components.gcp.storage import Resource

_NEVER = "0001-01-01T00:00:00Z"
_NUMBERS = ("size", "generation", "metageneration")


def query_words(arguments: Arguments) -> dict[str, str]:
    """The query of ``list``. Raises ``ValueError`` with the field's name."""
    words = {field: arguments.text(field) for field in ("prefix", "delimiter")}
    return {field: value for field, value in words.items() if value}


def described(resource: Resource) -> dict[str, Any]:
    """One object, or a prefix that stands for many."""
    text, number = resource.get, _number
    return {
        "Bucket": text("bucket", ""),
        "Name": text("name", ""),
        "ContentType": text("contentType", ""),
        "ContentLanguage": text("contentLanguage", ""),
        "CacheControl": text("cacheControl", ""),
        "EventBasedHold": bool(resource.get("eventBasedHold")),
        "TemporaryHold": bool(resource.get("temporaryHold")),
        "RetentionExpirationTime": text("retentionExpirationTime", _NEVER),
        "ACL": resource.get("acl"),
        "PredefinedACL": "",
        "Owner": (resource.get("owner") or {}).get("entity", ""),
        "Size": number(resource.get("size")),
        "ContentEncoding": text("contentEncoding", ""),
        "ContentDisposition": text("contentDisposition", ""),
        "MD5": resource.get("md5Hash"),
        "CRC32C": _checksum(resource.get("crc32c", "")),
        "MediaLink": text("mediaLink", ""),
        "Metadata": resource.get("metadata"),
        "Generation": number(resource.get("generation")),
        "Metageneration": number(resource.get("metageneration")),
        "StorageClass": text("storageClass", ""),
        "Created": text("timeCreated", _NEVER),
        "Deleted": text("timeDeleted", _NEVER),
        "Updated": text("updated", _NEVER),
        "CustomerKeySHA256": (resource.get("customerEncryption") or {}).get("keySha256", ""),
        "KMSKeyName": text("kmsKeyName", ""),
        "Prefix": text("prefix", ""),
        "Etag": text("etag", ""),
    }


def attributes(resource: Resource) -> dict[str, Any]:
    """What ``bulkGet`` says of an object: the service's own words, with numbers for numbers."""
    numbers = {name: _number(resource[name]) for name in _NUMBERS if name in resource}
    return {**resource, **numbers}


def _number(found: object) -> int:
    return int(str(found)) if str(found).isdecimal() else 0


def _checksum(text: str) -> int:
    try:
        return int.from_bytes(base64.b64decode(text, validate=True), "big")
    except ValueError:
        return 0
