"""Azure Cosmos DB's emulator, reachable in clear text and with a container to use.

It lacks transactional batches, expiry and queries within a partition, and fails with status 500 at
documents that are absent.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from harness.tls_tunnel import TlsTunnel

KEY = "YW55"


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def create_container(url: str, database: str = "db", container: str = "col") -> None:
    """Make a database and a container; harmless when they are there."""
    partition = {"paths": ["/partitionKey"], "kind": "Hash"}
    _create(f"{url}/dbs", {"id": database})
    _create(f"{url}/dbs/{database}/colls", {"id": container, "partitionKey": partition})


def _create(url: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 409:
                raise


@contextmanager
def clear_text(port: int) -> Iterator[str]:
    """The emulator's URL for clients that want good certificates: it has none."""
    with TlsTunnel(port, _any_certificate) as tunnel:
        yield f"http://127.0.0.1:{tunnel.port}"
