"""Configurations and Resiliencies, with the policies they carry; breakers as they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import yaml

from dapr_dashboard.markup import Content, Html, anchor, badge, code, facts, pre, table, tag
from dapr_dashboard.model import App, Resources, SpecFact
from dapr_dashboard.samples import breakers
from dapr_dashboard.shapes import mapping, objects, texts
from dapr_dashboard.views.components import conditions
from dapr_dashboard.views.page import Shell, app_link, count, problem, since

_POLICIES = (("timeout", "timeouts"), ("retry", "retries"), ("circuitBreaker", "circuitBreakers"))


def configurations(shell: Shell, resources: Resources, apps: Sequence[App]) -> Html:
    """Every Configuration, with the policies it carries and who uses it."""
    rows = [
        (
            tag("a", one.name, href=f"#{place(one)}"),
            code(one.namespace),
            _tracing(one),
            _truth(one.is_measured),
            _truth(one.has_mtls),
            _policy(one),
            [[app_link(app), " "] for app in apps if _uses(app, one)],
            since(one.created, shell.now),
        )
        for one in resources.configurations
    ]
    heads = ("Name", "Namespace", "Tracing", "Metrics", "mTLS", "Access control", "Used by", "Age")
    return shell.page(
        "Configurations",
        table("All configurations", heads, rows),
        *(_spec_section(one, _carried(one)) for one in resources.configurations),
    )


def _uses(app: App, one: SpecFact) -> bool:
    if one.source:
        return app.configuration == one.source
    return app.configuration == one.name and app.namespace == one.namespace


def _tracing(one: SpecFact) -> str:
    return f"rate {one.sampling_rate}" if one.is_traced else "off"


def _truth(value: bool) -> str:
    return "on" if value else "off"


def _policy(one: SpecFact) -> str:
    policy = one.section("accessControl")
    if not policy:
        return "none"
    default = policy.get("defaultAction") or "allow"
    return f"{default} by default, {count(len(objects(policy.get('policies'))), 'app')}"


def _carried(one: SpecFact) -> Content:
    """What a Configuration allows, and what stands in the way of requests."""
    return [
        facts(
            {
                "Middleware": _pipeline(one, "httpPipeline"),
                "Middleware to the app": _pipeline(one, "appHttpPipeline"),
                "APIs allowed": _apis(one, "allowed"),
                "APIs denied": _apis(one, "denied"),
            }
        ),
        _access(one),
        _scopes(one),
    ]


def _pipeline(one: SpecFact, name: str) -> str:
    handlers = objects(one.section(name).get("handlers"))
    return ", ".join(f"{each.get('name', '')} ({each.get('type', '')})" for each in handlers)


def _apis(one: SpecFact, name: str) -> str:
    rules = objects(one.section("api").get(name))
    words = ("protocol", "name", "version")
    return ", ".join(" ".join(str(each[word]) for word in words if word in each) for each in rules)


def _access(one: SpecFact) -> Content:
    rows = [
        (
            str(policy.get("appId", "")),
            str(policy.get("namespace", "")),
            str(policy.get("trustDomain", "")),
            str(policy.get("defaultAction", "")),
            [
                [
                    code(f"{' '.join(texts(op.get('httpVerb')))} {op.get('name', '')}"),
                    f" {op.get('action', '')} ",
                ]
                for op in objects(policy.get("operations"))
            ],
        )
        for policy in objects(one.section("accessControl").get("policies"))
    ]
    if not rows:
        return None
    heads = ("Calling app", "Namespace", "Trust domain", "Default", "Operations")
    return table(f"Access control of {one.name}", heads, rows)


def _scopes(one: SpecFact) -> Content:
    rows = [
        (
            str(each.get("storeName", "")),
            str(each.get("defaultAccess", "")),
            ", ".join(texts(each.get("allowedSecrets"))),
            ", ".join(texts(each.get("deniedSecrets"))),
        )
        for each in objects(one.section("secrets").get("scopes"))
    ]
    if not rows:
        return None
    heads = ("Secret store", "Default", "Secrets allowed", "Secrets denied")
    return table(f"Secret scopes of {one.name}", heads, rows)


def place(one: SpecFact) -> str:
    """The same at every look; two files may have one name."""
    return anchor(one.namespace, one.name, f"{crc32(one.source.encode()):x}")


def _spec_section(one: SpecFact, *content: Content) -> Html:
    text = yaml.safe_dump(_plain(one.spec), sort_keys=False, allow_unicode=True)
    return tag(
        "section",
        tag("h2", one.name, id=place(one)),
        problem(one.problem),
        facts({"Namespace": code(one.namespace), "File": code(one.source)}),
        conditions(one.conditions),
        *content,
        tag("details", tag("summary", "The whole spec"), pre(text, f"Spec of {one.name}")),
        aria_labelledby=place(one),
    )


def _plain(value: Any) -> Any:
    """Plain dicts and lists, which the YAML writer knows."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def resiliency(shell: Shell, resources: Resources, apps: Sequence[App]) -> Html:
    """Every Resiliency, and the breakers as sidecars have them now."""
    kinds = {"closed": "good", "half-open": "warn", "open": "bad"}
    rows = [
        (
            app_link(app),
            one.resiliency,
            one.target,
            one.direction,
            badge(kinds.get(one.state, "unknown"), one.state),
        )
        for app in apps
        for one in breakers(app.live.samples)
    ]
    heads = ("App", "Resiliency", "Target", "Direction", "State")
    return shell.page(
        "Resiliency",
        table("Circuit breakers now", heads, rows, empty="None has been used yet."),
        *(_spec_section(one, _targets(one)) for one in resources.resiliencies),
        None if resources.resiliencies else tag("p", "There is no Resiliency.", class_="none"),
    )


def _targets(one: SpecFact) -> Content:
    known = one.section("policies")
    rows = [
        (f"{kind} {name}", direction, *(_described(known, chosen, *each) for each in _POLICIES))
        for kind, targets in one.section("targets").items()
        for name, both in mapping(targets).items()
        for direction, chosen in _directions(mapping(both))
    ]
    heads = ("Target", "Direction", "Timeout", "Retry", "Circuit breaker")
    return table(f"Targets of {one.name}", heads, rows)


def _directions(chosen: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    both = [(name, mapping(chosen[name])) for name in ("inbound", "outbound") if chosen.get(name)]
    return both or [("", chosen)]


def _described(
    known: Mapping[str, Any], chosen: Mapping[str, Any], word: str, plural: str
) -> Content:
    """A policy's name, and what it says."""
    if not (name := str(chosen.get(word) or "")):
        return None
    policy = mapping(known.get(plural)).get(name)
    if isinstance(policy, Mapping):
        said = ", ".join(f"{key} {value}" for key, value in policy.items())
    else:
        said = str(policy or "not defined here")
    return [name, tag("small", f" ({said})")]
