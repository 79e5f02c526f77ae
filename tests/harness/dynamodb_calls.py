"""Calls to DynamoDB's emulator that owe nothing to the client under test."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

# The emulator wants a signature and does not look at it.
_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": "AWS4-HMAC-SHA256 Credential=a/20200101/eu-west-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
}


def call(address: str, operation: str, **request: Any) -> dict[str, Any]:
    """The answer; an error is an ``HTTPError``."""
    asked = urllib.request.Request(
        f"http://{address}/",
        json.dumps(request).encode(),
        {**_HEADERS, "X-Amz-Target": f"DynamoDB_20120810.{operation}"},
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def create_table(address: str, name: str, key: str = "key") -> None:
    """A table with a primary key of one text; none when it is there already."""
    try:
        call(
            address,
            "CreateTable",
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    except urllib.error.HTTPError as error:
        if b"ResourceInUse" not in error.read():
            raise
