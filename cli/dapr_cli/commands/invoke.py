"""``dapr invoke``: call a method of a running app through its sidecar."""

from __future__ import annotations

from urllib.parse import quote

import click

from dapr_cli.completions import running_app_ids
from dapr_cli.errors import CliError
from dapr_cli.payload import data_file_option, read_payload, sidecar_of, socket_option
from dapr_cli.session import Verb, session
from dapr_cli.sidecar_client import SidecarError

_SECONDS = 120.0
_KEPT = "/?&=%:@!$'()*+,;~[]"


@click.command("invoke", cls=Verb)
@click.option(
    "-a",
    "--app-id",
    required=True,
    shell_complete=running_app_ids,
    help="The app to call.",
)
@click.option("-m", "--method", required=True, help="Its method; may have a query string.")
@click.option("-d", "--data", help="The body, JSON.")
@data_file_option("body")
@click.option("-v", "--verb", default="POST", show_default=True, help="The HTTP verb.")
@socket_option
def invoke_command(
    app_id: str,
    method: str,
    data: str | None,
    data_file: str | None,
    verb: str,
    unix_domain_socket: str,
) -> None:
    """Call a method of a running app.

    Prints what the app answers. The exit code is 1 when the answer is an error.
    """
    body = read_payload(data, data_file)
    path = f"/v1.0/invoke/{quote(app_id, safe='')}/method/{quote(method.lstrip('/'), safe=_KEPT)}"
    try:
        client = sidecar_of(app_id, unix_domain_socket)
        headers = {"Content-Type": "application/json"}
        answer = client.call(verb.upper(), path, body, headers, _SECONDS)
    except CliError as error:
        raise CliError(f"error invoking app {app_id}: {error.message}", error.hint) from error
    except SidecarError as error:
        raise CliError(f"error invoking app {app_id}: {error}") from error
    text = answer.body.decode("utf-8", "replace")
    if not answer.ok:
        raise CliError(f"error invoking app {app_id}: {answer.status_line}", text)
    if text:
        click.echo(text)
    session().console.success("App invoked successfully")
