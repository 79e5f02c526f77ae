"""``list`` of ``bindings.aws.s3``: the request's words and the answer's, as Dapr has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from dapr_sidecar.components import xml_answer
from dapr_sidecar.components.bindings.objects import Arguments
from dapr_sidecar.components.xml_answer import Element

_MOST = 1000


def query_words(arguments: Arguments) -> dict[str, str]:
    """The query. Names come back URL-encoded: not every key can stand in XML."""
    words = {
        "encoding-type": "url",
        "max-keys": str(arguments.number("maxResults", _MOST, _MOST)),
    }
    for field in ("prefix", "marker", "delimiter"):
        if value := arguments.text(field):
            words[field] = value
    return words


def described(root: Element) -> dict[str, Any]:
    """A page of a bucket. What is absent is ``null``, and so are empty lists."""
    encoded = xml_answer.text(root, "EncodingType") == "url"
    name: Callable[[str], str] = unquote_plus if encoded else str
    contents = [_object(one, name) for one in root.findall("Contents")]
    prefixes = [
        {"Prefix": name(xml_answer.text(one, "Prefix"))} for one in root.findall("CommonPrefixes")
    ]
    next_marker = name(xml_answer.text(root, "NextMarker"))
    is_truncated = xml_answer.text(root, "IsTruncated") == "true"
    if is_truncated and not next_marker and contents:
        # The service says it only with a delimiter: without one it is the last key.
        next_marker = contents[-1]["Key"]
    return {
        "CommonPrefixes": prefixes or None,
        "Contents": contents or None,
        "Delimiter": name(xml_answer.text(root, "Delimiter")),
        "EncodingType": None,
        "IsTruncated": is_truncated,
        "Marker": name(xml_answer.text(root, "Marker")),
        "MaxKeys": _number(xml_answer.text(root, "MaxKeys")),
        "Name": xml_answer.text(root, "Name"),
        "NextMarker": next_marker or None,
        "Prefix": name(xml_answer.text(root, "Prefix")),
    }


def _object(one: Element, name: Callable[[str], str]) -> dict[str, Any]:
    owner = one.find("Owner")
    return {
        "ETag": xml_answer.text(one, "ETag"),
        "Key": name(xml_answer.text(one, "Key")),
        "LastModified": _moment(xml_answer.text(one, "LastModified")),
        "Owner": None
        if owner is None
        else {
            "DisplayName": xml_answer.text(owner, "DisplayName"),
            "ID": xml_answer.text(owner, "ID"),
        },
        "Size": _number(xml_answer.text(one, "Size")),
        "StorageClass": xml_answer.text(one, "StorageClass"),
    }


def _moment(text: str) -> str:
    """``2021-08-16T06:44:14.000Z`` without a fraction that is none, as Go writes moments."""
    return text.replace(".000Z", "Z")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
