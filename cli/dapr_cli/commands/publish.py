"""``dapr publish``: publish a message through a running app's sidecar."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import click

from dapr_cli.completions import running_app_ids
from dapr_cli.errors import CliError
from dapr_cli.payload import data_file_option, read_payload, sidecar_of, socket_option
from dapr_cli.session import Verb, session
from dapr_cli.sidecar_client import SidecarError

_SECONDS = 60.0
_CLOUD_EVENT = frozenset({"id", "source", "specversion", "type", "data"})


@click.command("publish", cls=Verb)
@click.option(
    "-i",
    "--publish-app-id",
    required=True,
    shell_complete=running_app_ids,
    help="The app that publishes.",
)
@click.option("-p", "--pubsub", required=True, help="The pub/sub component.")
@click.option("-t", "--topic", required=True, help="The topic.")
@click.option("-d", "--data", help="The message, JSON; a CloudEvent is taken as one.")
@data_file_option("message")
@click.option("-m", "--metadata", metavar="JSON", help='Metadata, as in {"ttlInSeconds":"60"}.')
@socket_option
def publish_command(
    publish_app_id: str,
    pubsub: str,
    topic: str,
    data: str | None,
    data_file: str | None,
    metadata: str | None,
    unix_domain_socket: str,
) -> None:
    """Publish a message through a running app's sidecar."""
    body = read_payload(data, data_file)
    query = urlencode({f"metadata.{k}": v for k, v in _metadata(metadata).items()})
    path = f"/v1.0/publish/{quote(pubsub, safe='')}/{quote(topic, safe='/')}"
    try:
        client = sidecar_of(publish_app_id, unix_domain_socket)
        answer = client.call(
            "POST",
            f"{path}?{query}" if query else path,
            body,
            {"Content-Type": content_type(body)},
            _SECONDS,
        )
    except CliError as error:
        raise CliError(f"error publishing topic {topic}: {error.message}", error.hint) from error
    except SidecarError as error:
        raise CliError(f"error publishing topic {topic}: {error}") from error
    if not answer.ok:
        text = answer.body.decode("utf-8", "replace")
        raise CliError(f"error publishing topic {topic}: {answer.status_line}", text)
    session().console.success("Event published successfully")


def content_type(body: bytes | None) -> str:
    """A JSON object with every attribute of a CloudEvent is one."""
    try:
        parsed = json.loads(body or b"null")
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and parsed.keys() >= _CLOUD_EVENT:
        return "application/cloudevents+json"
    return "application/json"


def _metadata(text: str | None) -> dict[str, str]:
    if not text:
        return {}
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--metadata is no valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise click.UsageError("--metadata must be a JSON object")
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in parsed.items()
    }
