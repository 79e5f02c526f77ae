"""Asks the sidecar to stop, by the official Python SDK."""

from dapr.clients import DaprClient

with DaprClient() as client:
    client.shutdown()
