"""``list`` of ``bindings.azure.blobstorage``: the words of request and answer, as Dapr has them."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from dapr_common.moments import rfc3339
from dapr_sidecar.components import xml_answer
from dapr_sidecar.components.bindings.objects import Arguments
from dapr_sidecar.components.xml_answer import Element

_MOST = 5000
# What ``include`` may ask for → what the service calls it.
_SETS = {
    "copy": "copy",
    "metadata": "metadata",
    "snapshots": "snapshots",
    "uncommittedBlobs": "uncommittedblobs",
    "deleted": "deleted",
}


def query_words(arguments: Arguments) -> dict[str, str]:
    """The query. Raises ``ValueError`` with the field's name."""
    words = {"maxresults": str(arguments.number("maxResults", _MOST, _MOST))}
    for field in ("prefix", "marker"):
        if value := arguments.text(field):
            words[field] = value
    include = arguments.inner("include")
    if sets := [_SETS[name] for name in _SETS if include.is_set(name)]:
        words["include"] = ",".join(sets)
    return words


def blobs_of(root: Element) -> list[Element]:
    """The blobs of a page."""
    return root.findall("Blobs/Blob")


def name_of(blob: Element) -> str:
    """A blob's name, also of one that cannot stand in XML."""
    element = blob.find("Name")
    if element is None:
        return ""
    text = element.text or ""
    return unquote(text) if element.get("Encoded") == "true" else text


def described(blob: Element) -> dict[str, Any]:
    """One blob, in the form that Dapr's documentation shows."""
    metadata = {one.tag: one.text or "" for one in blob.findall("Metadata/*")}
    return {
        "XMLName": {"Space": "", "Local": "Blob"},
        "Name": name_of(blob),
        "Deleted": xml_answer.text(blob, "Deleted") == "true",
        "Snapshot": xml_answer.text(blob, "Snapshot"),
        "Properties": _properties(blob.find("Properties")),
        "Metadata": metadata or None,
    }


def _properties(element: Element | None) -> dict[str, Any]:
    found: dict[str, Any] = {"XMLName": {"Space": "", "Local": "Properties"}}
    for name, (tag, convert) in _PROPERTIES.items():
        child = None if element is None else element.find(tag)
        found[name] = convert("" if child is None else child.text or "")
    return found


def _or_null(text: str) -> str | None:
    return text or None


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _flag(text: str) -> bool | None:
    return text == "true" if text else None


def _moment(text: str) -> str | None:
    """``Thu, 08 Jul 2021 07:38:16 GMT`` as ``2021-07-08T07:38:16Z``."""
    try:
        return rfc3339(parsedate_to_datetime(text)) if text else None
    except ValueError:
        return text


_PROPERTIES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "CreationTime": ("Creation-Time", _moment),
    "LastModified": ("Last-Modified", _moment),
    "Etag": ("Etag", str),
    "ContentLength": ("Content-Length", _number),
    "ContentType": ("Content-Type", str),
    "ContentEncoding": ("Content-Encoding", str),
    "ContentLanguage": ("Content-Language", str),
    "ContentMD5": ("Content-MD5", str),
    "ContentDisposition": ("Content-Disposition", str),
    "CacheControl": ("Cache-Control", str),
    "BlobSequenceNumber": ("x-ms-blob-sequence-number", _number),
    "BlobType": ("BlobType", str),
    "LeaseStatus": ("LeaseStatus", str),
    "LeaseState": ("LeaseState", str),
    "LeaseDuration": ("LeaseDuration", str),
    "CopyID": ("CopyId", _or_null),
    "CopyStatus": ("CopyStatus", str),
    "CopySource": ("CopySource", _or_null),
    "CopyProgress": ("CopyProgress", _or_null),
    "CopyCompletionTime": ("CopyCompletionTime", _moment),
    "CopyStatusDescription": ("CopyStatusDescription", _or_null),
    "ServerEncrypted": ("ServerEncrypted", _flag),
    "IncrementalCopy": ("IncrementalCopy", _flag),
    "DestinationSnapshot": ("CopyDestinationSnapshot", _or_null),
    "DeletedTime": ("DeletedTime", _moment),
    "RemainingRetentionDays": ("RemainingRetentionDays", _number),
    "AccessTier": ("AccessTier", str),
    "AccessTierInferred": ("AccessTierInferred", _flag),
    "ArchiveStatus": ("ArchiveStatus", str),
    "CustomerProvidedKeySha256": ("CustomerProvidedKeySha256", _or_null),
    "AccessTierChangeTime": ("AccessTierChangeTime", _moment),
}
