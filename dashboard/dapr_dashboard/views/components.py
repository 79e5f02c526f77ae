"""Components: manifests, what the control plane says of them, how they fare in each sidecar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dapr_dashboard.markup import Content, Html, anchor, badge, code, facts, html, table, tag
from dapr_dashboard.model import App, ComponentFact, Condition, Resources
from dapr_dashboard.views.apps import component_state
from dapr_dashboard.views.page import Shell, app_link, problem, since


def page(shell: Shell, resources: Resources, apps: Sequence[App]) -> Html:
    """Every component: its manifest, its status, and how each sidecar that has it fares."""
    names = sorted({one.name for one in resources.components} | _reported(apps))
    found = {name: [one for one in resources.components if one.name == name] for name in names}
    rows = [
        (
            html(tag("a", name, href=f"#{anchor('component', name)}")),
            [[code(one.type), " "] for one in found[name]] or code(_type_of(name, apps)),
            ", ".join(one.version for one in found[name]),
            [_condition_badge(one) for one in found[name]],
            [_users(name, apps)],
            [[since(one.created, shell.now), " "] for one in found[name] if one.created],
        )
        for name in names
    ]
    heads = ("Name", "Type", "Version", "Manifest", "Sidecars", "Age")
    return shell.page(
        "Components",
        table("All components", heads, rows),
        *(_component(shell, name, found[name], apps) for name in names),
    )


def _reported(apps: Sequence[App]) -> set[str]:
    lists = ("components", "componentHealth")
    return {str(one["name"]) for app in apps for each in lists for one in app.live.listed(each)}


def _type_of(name: str, apps: Sequence[App]) -> str:
    found = (one for app in apps for one in app.live.listed("components"))
    return next((str(one.get("type", "")) for one in found if one.get("name") == name), "")


def _users(name: str, apps: Sequence[App]) -> list[Content]:
    return [
        tag("span", app_link(app), " ", _state_in(app, name), class_="user")
        for app in apps
        if _has(app, name)
    ]


def _has(app: App, name: str) -> bool:
    lists = ("components", "componentHealth")
    return any(one.get("name") == name for each in lists for one in app.live.listed(each))


def _told(app: App, name: str) -> dict[str, Any]:
    found = (dict(one) for one in app.live.listed("componentHealth") if one.get("name") == name)
    return next(found, {})


def _state_in(app: App, name: str) -> Html:
    is_loaded = any(one.get("name") == name for one in app.live.listed("components"))
    return component_state(_told(app, name), is_loaded=is_loaded)


def _condition_badge(one: ComponentFact) -> Html:
    if one.problem:
        return badge("bad", "cannot be read")
    ready = next((each for each in one.conditions if each.type == "Ready"), None)
    if ready is None:
        return badge("unknown", "not reported") if one.conditions else Html("")
    words = {"True": ("good", "ready"), "False": ("bad", ready.reason or "not ready")}
    return badge(*words.get(ready.status, ("warn", ready.reason or "unknown")))


def _component(
    shell: Shell, name: str, manifests: Sequence[ComponentFact], apps: Sequence[App]
) -> Html:
    errors = [
        (
            app_link(app),
            _state_in(app, name),
            str(_told(app, name).get("lastError", "")),
        )
        for app in apps
        if _has(app, name)
    ]
    return tag(
        "section",
        tag("h2", name, id=anchor("component", name)),
        *(_manifest(shell, one) for one in manifests),
        table(f"Sidecars that have {name}", ("App", "State", "Last error"), errors),
        aria_labelledby=anchor("component", name),
    )


def _manifest(shell: Shell, one: ComponentFact) -> Html:
    rows = [(code(each.name), each.text, each.origin) for each in one.settings]
    return html(
        [
            problem(one.problem),
            facts(
                {
                    "Type": code(one.type),
                    "Version": one.version,
                    "Namespace": code(one.namespace),
                    "Scopes": ", ".join(one.scopes) or ("all apps" if one.type else ""),
                    "File": code(one.source),
                    "Age": since(one.created, shell.now),
                }
            ),
            conditions(one.conditions),
            table(f"Settings of {one.name}", ("Name", "Value", "Secret from"), rows)
            if one.type
            else None,
        ]
    )


def conditions(found: Sequence[Condition]) -> Html:
    """What a resource's status says; nothing without one."""
    rows = [(each.type, each.status, each.reason, each.message) for each in found]
    if not rows:
        return Html("")
    return table("Status", ("Condition", "Status", "Reason", "Message"), rows)
