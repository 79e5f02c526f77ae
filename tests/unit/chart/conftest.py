"""Render the chart with helm, as an installation does, without a cluster."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.programs import path

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "dapr"
FACTS = ROOT.parent / "shared" / "reference" / "helm.json"
HELM = str(path("helm")) if path("helm").exists() else shutil.which("helm") or ""
NAMESPACE = "dapr-system"
# Name of the file → what is set. `pytest tests/unit/chart --update` writes them.
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "high-availability": ("global.ha.enabled=true",),
    "namespaced": ("global.rbac.namespaced=true",),
    "least": (
        "global.actors.enabled=false",
        "global.prometheus.enabled=false",
        "dapr_sidecar_injector.enabled=false",
        "dapr_operator.validation.enabled=false",
        "dapr_operator.cleanup.enabled=false",
        "dapr_rbac.secretReader.enabled=false",
        "dapr_config.dapr_config_chart_included=false",
    ),
    "dashboard": ("dapr_dashboard.enabled=true",),
    "everything": (
        "global.logAsJson=true",
        "global.priorityClassName=system-cluster-critical",
        "global.imagePullSecrets={one,two}",
        "global.nodeSelector.pool=control",
        "global.tolerations[0].key=control",
        "global.daprControlPlaneArch=amd64",
        "global.seccompProfile=RuntimeDefault",
        "global.labels.team=platform",
        "global.argoRolloutServiceReconciler.enabled=true",
        "global.operator.watchdogCanPatchPodLabels=true",
        "global.scheduler.externalName=scheduler.elsewhere.svc.cluster.local",
        "global.reminders.serviceName=reminders",
        "global.extraVolumes.sentry[0].name=more",
        "global.extraVolumeMounts.sentry[0].name=more",
        "global.initContainers.operator[0].name=before",
        "global.extraContainers.injector[0].name=beside",
        "dapr_operator.watchNamespace=apps",
        "dapr_operator.serviceReconciler.enabled=false",
        "dapr_operator.extraEnvVars.NAME=value",
        "dapr_placement.ha=true",
        "dapr_placement.metadataEnabled=true",
        "dapr_sentry.jwt.enabled=true",
        "dapr_sentry.jwt.issuer=https://issuer",
        "dapr_sentry.oidc.enabled=true",
        "dapr_sentry.oidc.tls.enabled=false",
        "dapr_sentry.oidc.allowedHosts={a,b}",
        "dapr_sentry.tls.root.certPEM=root",
        "dapr_sentry.tls.issuer.certPEM=issuer",
        "dapr_sentry.tls.issuer.keyPEM=key",
        "dapr_sidecar_injector.hostNetwork=true",
        "dapr_sidecar_injector.sidecarRunAsUser=1001",
        "dapr_sidecar_injector.allowedServiceAccounts=ns:account",
        "dapr_sidecar_injector.namespaceSelector.matchLabels.dapr=on",
    ),
}

Objects = dict[tuple[str, str], dict[str, Any]]
"""By kind and name."""
Render = Callable[..., Objects]


@pytest.fixture(scope="session", autouse=True)
def helm() -> str:
    if not HELM:
        pytest.skip("not here: helm (make cluster-tools)")
    return HELM


@pytest.fixture(scope="session")
def render_text() -> Callable[..., str]:
    """What helm prints for some ``--set`` texts. Raises ``CalledProcessError``."""
    return _render


@pytest.fixture(scope="session")
def render() -> Render:
    """The objects for some ``--set`` texts."""

    def objects(*settings: str) -> Objects:
        found = (yaml.load(part, yaml.CSafeLoader) for part in _render(*settings).split("\n---\n"))
        return {(each["kind"], each["metadata"]["name"]): each for each in found if each}

    return objects


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    """What Dapr's own chart renders."""
    if not FACTS.exists():
        pytest.skip(f"not here: {FACTS}")
    found: dict[str, Any] = json.loads(FACTS.read_text(encoding="utf-8"))
    return found


@functools.cache
def _render(*settings: str) -> str:
    sets = (word for setting in settings for word in ("--set", setting))
    command = [HELM, "template", "release-name", str(CHART), "--namespace", NAMESPACE, *sets]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def workloads(objects: Objects) -> dict[str, dict[str, Any]]:
    """What runs for as long as the release is there, by name."""
    kinds = ("Deployment", "StatefulSet")
    return {name: body for (kind, name), body in objects.items() if kind in kinds}


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    """The pod template's spec."""
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec
