"""Which Configuration an app was given: its pods say so."""

from __future__ import annotations

from dapr_operator.pods import Pods


def assigned_configuration(pods: Pods, namespace: str, app_id: str) -> str:
    """Its name; empty when none of the app's pods names one."""
    for pod in pods.of_app(namespace, app_id):
        if pod.config:
            return pod.config
    return ""
