"""Dashboards and alert rules ask for what the programs show, and Prometheus takes both."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from harness.backends import Backends
from harness.metric_families import SIDECAR_FAMILIES

from dapr_common.observe.metrics import Registry
from dapr_injector.metrics import InjectorMetrics
from dapr_operator.metrics import OperatorMetrics
from dapr_placement.metrics import PlacementMetrics
from dapr_sentry.metrics import SentryMetrics
from dapr_sidecar.telemetry.metrics import SidecarMetrics, build_registry

ROOT = Path(__file__).parents[3]
_SELECTOR = re.compile(r"\b(dapr_\w+|process_\w+_(?:bytes|total|seconds))(?:\{([^}]*)\})?")
_BY = re.compile(r"\b(?:by|on) \(([^)]*)\)")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)")
_SCRAPED = {"job", "instance"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """``tools/monitoring.py``, which is no module of a package."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return import_module("monitoring")
    finally:
        sys.path.pop(0)


def shown() -> dict[str, set[str]]:
    """The labels of every metric of every program."""
    plain = [Registry() for _ in range(4)]
    makers = (SentryMetrics, OperatorMetrics, InjectorMetrics, PlacementMetrics)
    for make, registry in zip(makers, plain, strict=True):
        make(registry)
    sidecar = build_registry("a", {})
    SidecarMetrics(sidecar, "ns")
    found = {name: set(family.labels) for name, family in families(*plain)}
    found |= {name: {"app_id", *family.labels} for name, family in families(sidecar)}
    found |= {name: {"app_id", *labels} for name, labels in servers()}
    found |= {name: set() for name in process_names()}
    return found


def families(*registries: Registry) -> list[tuple[str, Any]]:
    return [pair for registry in registries for pair in registry._families.items()]


def servers() -> list[tuple[str, tuple[str, ...]]]:
    """Families of the API servers, which are made for each Configuration."""
    rows = [row for row in SIDECAR_FAMILIES if "_server_" in row[1]]
    return [(name, tuple(labels.replace("-", "").split(","))) for _, name, labels, _ in rows]


def process_names() -> list[str]:
    text = Registry().render().decode()
    return [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE process_")]


def test_every_name_is_there(tool: ModuleType) -> None:
    known = shown()
    for expression in tool.expressions():
        asked = _SELECTOR.findall(expression)
        assert asked, expression
        allowed = {"le", *_SCRAPED}
        for name, matchers in asked:
            labels = known[re.sub(r"_bucket$", "", name)]
            assert set(_MATCHER.findall(matchers)) <= labels, expression
            allowed |= labels
        for by in _BY.findall(expression):
            assert {label.strip() for label in by.split(",")} <= allowed, expression


def test_nothing_is_stale(tool: ModuleType) -> None:
    assert tool.stale() == [], "run `make docs`"


def promtool(backends: Backends, *arguments: str) -> None:
    program = Path(backends.program("prometheus")).with_name("promtool")
    done = subprocess.run([program, *arguments], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_prometheus_takes_the_rules(backends: Backends) -> None:
    promtool(backends, "check", "rules", str(ROOT / "docs" / "monitoring" / "alerts.yaml"))


def test_prometheus_takes_the_expressions_of_the_panels(
    tool: ModuleType, backends: Backends, tmp_path: Path
) -> None:
    rules = [
        {"record": f"panel:number:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(tool.expressions())
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(tool.yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool(backends, "check", "rules", str(path))
