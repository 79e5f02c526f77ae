"""What the chart passes to programs is what the programs take."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest

from dapr_common.flags import Flag, Parsed, parse

from .conftest import NAMESPACE, ROOT, SETTINGS, Render, pod_of, workloads

# Command → where its flags are, and what reads them.
PROGRAMS = {
    "dapr-operator": ("dapr_operator.flag_table", "dapr_operator.settings"),
    "dapr-sentry": ("dapr_sentry.flag_table", "dapr_sentry.settings"),
    "dapr-injector": ("dapr_injector.settings", "dapr_injector.settings"),
    "dapr-placement": ("dapr_placement.flag_table", "dapr_placement.settings"),
    "dapr-dashboard": ("dapr_dashboard.settings", "dapr_dashboard.settings"),
}


def flags_of(command: str) -> Sequence[Flag]:
    found: Sequence[Flag] = import_module(PROGRAMS[command][0]).FLAGS
    return found


def environment(container: dict[str, Any]) -> dict[str, str]:
    given = {"metadata.namespace": NAMESPACE, "metadata.name": "pod-0"}
    return {
        each["name"]: each.get("value") or given[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
    }


def settings_of(command: str, parsed: Parsed, variables: dict[str, str]) -> Any:
    return import_module(PROGRAMS[command][1]).read(parsed, variables)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_flag_and_variable_is_taken(
    name: str, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setattr("os.getuid", lambda: 65532)
    for workload in workloads(render(*SETTINGS[name])).values():
        container = pod_of(workload)["containers"][0]
        (command,) = container["command"]
        arguments = [each.replace("$(PLACEMENT_ID)", "pod-0") for each in container["args"]]
        parsed = parse(flags_of(command), arguments)
        assert not parsed.notices
        settings = settings_of(command, parsed, environment(container))
        assert not getattr(settings, "notices", ())


def test_every_command_is_a_console_script(render: Render) -> None:
    scripts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = workloads(render(*SETTINGS["dashboard"])).values()
    commands = {pod_of(workload)["containers"][0]["command"][0] for workload in found}
    assert commands == set(PROGRAMS)
    for command in commands:
        assert f"\n{command} = " in scripts


def test_ports_are_where_programs_listen_and_services_look(render: Render) -> None:
    objects = render()
    for workload in workloads(objects).values():
        container = pod_of(workload)["containers"][0]
        (command,) = container["command"]
        defaults = {flag.name: flag.default for flag in flags_of(command)}
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert defaults["port"] in ports.values()
        assert ports["metrics"] == int(str(defaults["metrics-port"]))
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == defaults["healthz-port"]
    webhook = objects["Service", "dapr-webhook"]["spec"]["ports"][0]
    operator = {flag.name: flag.default for flag in flags_of("dapr-operator")}
    assert webhook["targetPort"] == operator["webhook-server-port"]


def test_the_cleanup_is_a_module_of_the_operator(render: Render) -> None:
    container = pod_of(render()["Job", "dapr-cleanup"])["containers"][0]
    assert container["command"][:2] == ["python3", "-m"]
    import_module(container["command"][2])


def test_sidecars_are_told_of_a_scheduler_only_where_there_is_one(render: Render) -> None:
    def told(*settings: str) -> str:
        container = pod_of(workloads(render(*settings))["dapr-sidecar-injector"])["containers"][0]
        (found,) = [each for each in container["args"] if each.startswith("--scheduler-enabled")]
        return str(found)

    assert told() == "--scheduler-enabled=false"
    external = "global.scheduler.externalName=scheduler.elsewhere"
    assert told(external) == "--scheduler-enabled=true"
    assert told(external, "global.scheduler.enabled=false") == "--scheduler-enabled=false"


def test_image_names_with_a_slash_are_taken_as_they_are(render: Render) -> None:
    objects = render("dapr_sentry.image.name=registry.example/mine:2")
    image = pod_of(workloads(objects)["dapr-sentry"])["containers"][0]["image"]
    assert image == "registry.example/mine:2"
