"""Asks for metadata with the token of the environment; prints the status."""

import sys

from dapr.clients import DaprClient
from grpc import RpcError

with DaprClient() as client:
    try:
        client.get_metadata()
        sys.stdout.write("OK\n")
    except RpcError as error:
        sys.stdout.write(f"{error.code().name}\n")
