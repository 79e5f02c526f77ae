"""Makes the Grafana dashboards and the PrometheusRule of ``docs/monitoring``.

``python tools/monitoring.py`` writes them. The rules come from ``docs/monitoring/alerts.yaml``, the
panels from ``monitoring_panels.py``; a test holds every name in them against the programs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from monitoring_panels import CONTROL_PLANE, SIDECARS, Panel

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "monitoring"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SOURCE_VARIABLE = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
}
_APP_VARIABLE = {
    "name": "app_id",
    "label": "App",
    "type": "query",
    "datasource": _SOURCE,
    "query": "label_values(dapr_runtime_component_loaded, app_id)",
    "includeAll": True,
    "multi": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
    "refresh": 2,
}


def dashboard(
    name: str, title: str, panels: Sequence[Panel], *variables: dict[str, Any]
) -> dict[str, Any]:
    """A dashboard as Grafana imports it; it asks for the data source."""
    return {
        "uid": f"dapr-{name}",
        "title": title,
        "tags": ["dapr"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_SOURCE_VARIABLE, *variables]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "title": panel.title,
        "type": "timeseries",
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.lines)
        ],
    }


def alerts() -> dict[str, Any]:
    """The rule file."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return found


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is made, and what it holds."""
    for name, body in (
        ("sidecars", dashboard("sidecars", "Dapr: sidecars", SIDECARS, _APP_VARIABLE)),
        ("control-plane", dashboard("control-plane", "Dapr: control plane", CONTROL_PLANE)),
    ):
        yield FOLDER / f"grafana-{name}.json", json.dumps(body, indent=2) + "\n"
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "dapr", "labels": {"app.kubernetes.io/part-of": "dapr"}},
        "spec": alerts(),
    }
    yield FOLDER / "prometheusrule.yaml", yaml.safe_dump(rule, sort_keys=False, width=98)


def stale() -> list[str]:
    """The names of files that are not what they should be."""
    return [path.name for path, text in files() if not path.exists() or path.read_text() != text]


def expressions() -> Iterator[str]:
    """Everything that is asked of Prometheus."""
    for panel in (*SIDECARS, *CONTROL_PLANE):
        yield from (expression for expression, _ in panel.lines)
    for group in alerts()["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def main() -> int:
    """Write them."""
    for path, text in files():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
