"""Configurations and Resiliencies, with the policies they carry; breakers as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import yaml

from dapr_dashboard.markup import Content, Html, badge, code, facts, pre, table, tag
from dapr_dashboard.model import App, Resources, SpecFact
from dapr_dashboard.samples import breakers
from dapr_dashboard.views.components import conditions
from dapr_dashboard.views.page import Shell, app_link, problem, since

_POLICIES = (("timeout", "timeouts"), ("retry", "retries"), ("circuitBreaker", "circuitBreakers"))


def configurations(shell: Shell, resources: Resources, apps: Sequence[App]) -> Html:
    """Every Configuration, with the policies it carries and who uses it."""
    rows = [
        (
            tag("a", one.name, href=f"#{_anchor(one)}"),
            code(one.namespace),
            _tracing(one.spec),
            _truth(_metrics(one.spec)),
            _truth(bool((one.spec.get("mtls") or {}).get("enabled"))),
            _policy(one.spec),
            [[app_link(app), " "] for app in apps if _uses(app, one)],
            since(one.created, shell.now),
        )
        for one in resources.configurations
    ]
    heads = ("Name", "Namespace", "Tracing", "Metrics", "mTLS", "Access control", "Used by", "Age")
    return shell.page(
        "Configurations",
        table("All configurations", heads, rows),
        *(_spec_section(one, _policies(one)) for one in resources.configurations),
    )


def _uses(app: App, one: SpecFact) -> bool:
    if one.source:
        return app.configuration == one.source
    return app.configuration == one.name and app.namespace == one.namespace


def _tracing(spec: Any) -> str:
    rate = (spec.get("tracing") or {}).get("samplingRate")
    return "off" if rate in (None, "", "0", 0) else f"rate {rate}"


def _metrics(spec: Any) -> bool:
    chosen = spec.get("metrics") or spec.get("metric") or {}
    return bool(chosen.get("enabled", True))


def _truth(value: bool) -> str:
    return "on" if value else "off"


def _policy(spec: Any) -> str:
    policy = spec.get("accessControl")
    if not policy:
        return "none"
    default = policy.get("defaultAction") or "allow"
    return f"{default} by default, {len(policy.get('policies') or ())} apps"


def _policies(one: SpecFact) -> Content:
    rows = [
        (
            str(policy.get("appId", "")),
            str(policy.get("namespace", "")),
            str(policy.get("trustDomain", "")),
            str(policy.get("defaultAction", "")),
            [
                [
                    code(f"{' '.join(map(str, op.get('httpVerb') or ()))} {op.get('name', '')}"),
                    f" {op.get('action', '')} ",
                ]
                for op in policy.get("operations") or ()
            ],
        )
        for policy in (one.spec.get("accessControl") or {}).get("policies") or ()
    ]
    if not rows:
        return None
    heads = ("Calling app", "Namespace", "Trust domain", "Default", "Operations")
    return table(f"Access control of {one.name}", heads, rows)


def _anchor(one: SpecFact) -> str:
    """The same at every look; two files may have one name."""
    return f"{one.namespace}-{one.name}-{crc32(one.source.encode()):x}"


def _spec_section(one: SpecFact, *content: Content) -> Html:
    text = yaml.safe_dump(_plain(one.spec), sort_keys=False, allow_unicode=True)
    return tag(
        "section",
        tag("h2", one.name, id=_anchor(one)),
        problem(one.problem),
        facts({"Namespace": code(one.namespace), "File": code(one.source)}),
        conditions(one.conditions),
        *content,
        tag("details", tag("summary", "The whole spec"), pre(text, f"Spec of {one.name}")),
        aria_labelledby=_anchor(one),
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
    known = one.spec.get("policies") or {}
    rows = [
        (f"{kind} {name}", direction, *(_described(known, chosen, *each) for each in _POLICIES))
        for kind, targets in (one.spec.get("targets") or {}).items()
        for name, both in (targets or {}).items()
        for direction, chosen in _directions(both or {})
    ]
    heads = ("Target", "Direction", "Timeout", "Retry", "Circuit breaker")
    return table(f"Targets of {one.name}", heads, rows)


def _directions(chosen: Any) -> list[tuple[str, Any]]:
    both = [(name, chosen[name]) for name in ("inbound", "outbound") if chosen.get(name)]
    return both or [("", chosen)]


def _described(known: Any, chosen: Any, word: str, plural: str) -> Content:
    """A policy's name, and what it says."""
    if not (name := chosen.get(word)):
        return None
    policy = (known.get(plural) or {}).get(name)
    if isinstance(policy, dict):
        said = ", ".join(f"{key} {value}" for key, value in policy.items())
    else:
        said = str(policy or "not defined here")
    return [str(name), tag("small", f" ({said})")]
