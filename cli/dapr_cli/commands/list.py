"""``dapr list``: the running apps, however their sidecars were started."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from dapr_cli import instances, render
from dapr_cli.cluster_resources import namespace_options
from dapr_cli.instances import Instance
from dapr_cli.session import Verb, kubernetes_option, output_option, session, warn_of_unused


@click.command("list", cls=Verb)
@namespace_options
@kubernetes_option
@output_option
def list_command(kubernetes: bool, namespace: str, output: str) -> None:
    """List the running apps and their sidecars.

    Every daprd process of this machine with an app id is found, also those that the official
    CLI, a service manager or you yourself started. With -k: the pods that have a sidecar.
    """
    if kubernetes:
        _list_in_cluster(namespace, output)
    else:
        warn_of_unused(["namespace"])
        _list_here(output)


def _list_in_cluster(namespace: str, output: str) -> None:
    from dapr_cli.kube.cluster import on_cluster
    from dapr_cli.kube.pods import sidecar_pods, sidecar_records, sidecar_rows
    from dapr_common.kube.kinds import PODS, Selection

    pods = on_cluster(lambda client: client.list_all(Selection(PODS, namespace)))
    found, now = sidecar_pods(pods.items), datetime.now(UTC)
    if output != "table":
        render.show(sidecar_records(found, now), output)
    elif found:
        click.echo(render.table(sidecar_rows(found, now)))
    else:
        session().console.info("No Dapr instances found.")


def _list_here(output: str) -> None:
    found = instances.asked(instances.running())
    now = datetime.now(UTC)
    if output != "table":
        render.show([_record(each, now) for each in found], output)
    elif found:
        click.echo(render.table([_row(each, now) for each in found]))
    else:
        session().console.info("No Dapr instances found.")


def _row(instance: Instance, now: datetime) -> dict[str, object]:
    return {
        "APP_ID": instance.app_id,
        "HTTP_PORT": instance.http_port,
        "GRPC_PORT": instance.grpc_port,
        "APP_PORT": instance.app_port,
        "COMMAND": render.cut(instance.command),
        "AGE": render.age((now - instance.created).total_seconds()),
        "CREATED": render.created(instance.created),
        "DAPRD_PID": instance.daprd_pid,
        "CLI_PID": instance.cli_pid,
        "APP_PID": instance.app_pid,
        "RUN_TEMPLATE_PATH": instance.run_template_path,
        "APP_LOG_PATH": instance.app_log_path,
        "DAPRD_LOG_PATH": instance.daprd_log_path,
        "RUNTEMPLATENAME": instance.run_template_name,
    }


def _record(instance: Instance, now: datetime) -> dict[str, Any]:
    return {
        "appId": instance.app_id,
        "httpPort": instance.http_port,
        "grpcPort": instance.grpc_port,
        "appPort": instance.app_port,
        "metricsEnabled": instance.metrics_enabled,
        "command": instance.command,
        "age": render.age((now - instance.created).total_seconds()),
        "created": render.created(instance.created),
        "daprdPid": instance.daprd_pid,
        "cliPid": instance.cli_pid,
        "appPid": instance.app_pid,
        "maxRequestBodySize": instance.max_body_bytes,
        "httpReadBufferSize": instance.read_buffer_bytes,
        "runTemplatePath": instance.run_template_path,
        "appLogPath": instance.app_log_path,
        "daprdLogPath": instance.daprd_log_path,
        "runTemplateName": instance.run_template_name,
    }
