"""The overview of applications, and the page of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dapr_dashboard.markup import Content, Html, anchor, code, facts, html, link, table, tag
from dapr_dashboard.model import App
from dapr_dashboard.shapes import objects, texts
from dapr_dashboard.views.page import Shell, app_link, count, problem, since, state


def overview(shell: Shell, apps: Sequence[App]) -> Html:
    """Every application and its sidecar."""
    rows = [
        (
            app_link(app),
            state(app.live.health, app.live.state),
            app.live.problem or _failing(app),
            code(app.namespace),
            code(app.name),
            app.facts.get("App port", ""),
            app.live.version or app.version,
            since(app.created, shell.now),
        )
        for app in apps
    ]
    heads = ("App id", "Sidecar", "Problem", "Namespace", "Instance", "App port", "Runtime", "Age")
    if not rows:
        return shell.page(
            "Applications",
            tag("p", f"No application with a sidecar runs on {shell.where}.", class_="none"),
            tag("p", "Start one with ", code("dapr run --app-id NAME -- COMMAND"), "."),
        )
    summary = f"{count(len(rows), 'sidecar')}, {_not_good(apps)} with a problem."
    return shell.page(
        "Applications", tag("p", summary), table("Applications and their sidecars", heads, rows)
    )


def _failing(app: App) -> str:
    """The components that are not ready, with what they are instead."""
    told = app.live.listed("componentHealth")
    return ", ".join(
        f"{one.get('name')} is {one.get('state')}" for one in told if one.get("state") != "ready"
    )


def _not_good(apps: Sequence[App]) -> str:
    bad = sum(app.live.health != "good" for app in apps)
    return str(bad) if bad else "none"


def detail(shell: Shell, app: App, logs: Sequence[str]) -> Html:
    """Everything about one application."""
    metadata = app.live.metadata
    return shell.page(
        app.app_id or app.name,
        tag("p", state(app.live.health, app.live.state)),
        problem(app.live.problem),
        _section("Summary", facts(_summary(app, shell.now))),
        _section("Components", _components(app, shell.now)),
        _section("Subscriptions", _subscriptions(app)),
        _section("Actors", _actors(metadata)),
        _section("Logs", _logs(app, logs)),
        _section("More", _extended(metadata)),
    )


def _section(title: str, *content: Content) -> Html:
    name = title.lower().replace(" ", "-")
    return tag("section", tag("h2", title, id=name), *content, aria_labelledby=name)


def _summary(app: App, now: datetime) -> dict[str, Content]:
    metadata = app.live.metadata
    connection = metadata.get("appConnectionProperties") or {}
    extended = metadata.get("extended") or {}
    return {
        "App id": code(app.app_id),
        "Namespace": code(app.namespace),
        "Instance": code(app.name),
        "Runtime version": app.live.version or app.version,
        "Age": since(app.created, now),
        "App's address": _address(connection),
        "App's command": code(extended.get("appCommand", "")),
        "Configuration": code(app.configuration),
        "Resources": [[code(path), " "] for path in app.resources],
        "Resiliency": ", ".join(str(one.get("name")) for one in app.live.listed("resiliencies")),
        "Features": ", ".join(map(str, metadata.get("enabledFeatures") or ())),
        **{name: code(text) for name, text in app.facts.items()},
        "Containers": ", ".join(app.containers),
    }


def _address(connection: Mapping[str, Any]) -> str:
    if not connection.get("port"):
        return ""
    protocol = connection.get("protocol", "http")
    return f"{protocol}://{connection.get('channelAddress', '')}:{connection['port']}"


def _components(app: App, now: datetime) -> Html:
    told = {str(one.get("name")): one for one in app.live.listed("componentHealth")}
    loaded = {str(one.get("name")): one for one in app.live.listed("components")}
    rows = [
        (
            link(f"/components#{anchor('component', name)}", name),
            code(str(loaded.get(name, {}).get("type", ""))),
            str(loaded.get(name, {}).get("version", "")),
            component_state(told.get(name, {}), is_loaded=name in loaded),
            str(told.get(name, {}).get("lastError", "")),
            ", ".join(texts(loaded.get(name, {}).get("capabilities"))),
        )
        for name in sorted({*told, *loaded})
    ]
    heads = ("Name", "Type", "Version", "State", "Last error", "Capabilities")
    return table("Components of this sidecar", heads, rows)


def component_state(told: Mapping[str, Any], *, is_loaded: bool) -> Html:
    """A component's state as its sidecar tells it."""
    word = str(told.get("state") or ("loaded" if is_loaded else "unknown"))
    kinds = {"ready": "good", "loaded": "good", "failing": "bad", "pending": "warn"}
    moment = f" since {told['since']}" if told.get("since") else ""
    kind = kinds.get(word, "unknown")
    shown = state("good" if kind == "good" else "bad" if kind == "bad" else "warn", word)
    return html([shown, tag("small", moment)] if moment else shown)


def _subscriptions(app: App) -> Html:
    rows = [
        (
            str(one.get("pubsubname", "")),
            str(one.get("topic", "")),
            [
                [
                    code(str(rule.get("path", ""))),
                    f" if {rule['match']}" if rule.get("match") else "",
                    " ",
                ]
                for rule in objects(one.get("rules"))
            ],
            str(one.get("deadLetterTopic", "")),
            str(one.get("type", "")).lower(),
        )
        for one in app.live.listed("subscriptions")
    ]
    heads = ("Pub/sub", "Topic", "Routes", "Dead letters", "Declared")
    return table("Subscriptions", heads, rows)


def _actors(metadata: Mapping[str, Any]) -> Html:
    runtime = metadata.get("actorRuntime") or {}
    active = runtime.get("activeActors") or ()
    rows = [(str(one.get("type", "")), str(one.get("count", 0))) for one in active]
    return html(
        [
            facts(
                {
                    "Runtime": str(runtime.get("runtimeStatus") or ""),
                    "Placement": str(runtime.get("placement") or ""),
                }
            ),
            table("Active actors", ("Type", "Active"), rows),
        ]
    )


def _logs(app: App, names: Sequence[str]) -> Html:
    if not names:
        return tag("p", "No log of this app can be read here.", class_="none")
    entries = (tag("li", link(f"{app.path}/logs/{name}", name)) for name in names)
    return tag("ul", *entries)


def _extended(metadata: Mapping[str, Any]) -> Html:
    extended = metadata.get("extended") or {}
    rows = [(code(key), value) for key, value in sorted(extended.items())]
    return table("Values of the metadata API", ("Name", "Value"), rows)
