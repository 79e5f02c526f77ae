"""``kind: Configuration``: what a sidecar would refuse or silently not do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from dapr_common.go_expressions import compile_expression
from dapr_common.kube.validation.component import check_type
from dapr_common.kube.validation.problems import Node, shown
from dapr_common.kube.validation.references import check_source
from dapr_common.kube.validation.values import duration_problem, url_problem
from dapr_common.security.spiffe import SpiffeError, parse_trust_domain

_ACTIONS = ("allow", "deny")
_PROTOCOLS = ("http", "grpc")
_VERBS = frozenset(
    {"*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}
)
_APIS = (
    *("actors", "bindings", "configuration", "conversation", "crypto", "healthz", "invoke"),
    *("jobs", "lock", "metadata", "publish", "secrets", "shutdown", "state", "subscribe"),
    *("subtlecrypto", "unlock", "workflows"),
)
_API_VERSION = re.compile(r"v\d+(\.\d+)?(-?(alpha|beta)\d+)?")
_RETENTION = ("anyTerminal", "completed", "failed", "terminated")
_CONCURRENCY = (
    "maxConcurrentWorkflowInvocations",
    "maxConcurrentActivityInvocations",
    "globalMaxConcurrentWorkflowInvocations",
    "globalMaxConcurrentActivityInvocations",
)


def check_configuration(body: Node) -> None:
    """Report everything that cannot be used."""
    spec = body.node("spec")
    for check in _SECTIONS:
        check(spec)


def _tracing(spec: Node) -> None:
    tracing = spec.node("tracing")
    if (rate := tracing.text("samplingRate").strip()) and not _is_share(rate):
        tracing.error("samplingRate", f"{shown(rate)}: expected a number from 0 to 1")
    zipkin = tracing.node("zipkin")
    if tracing.has("zipkin") and (url := zipkin.required("endpointAddress")):
        _report(zipkin, "endpointAddress", url_problem(url))
    if not tracing.has("otel"):
        return
    otel = tracing.node("otel")
    if (endpoint := otel.required("endpointAddress")) and any(map(str.isspace, endpoint)):
        otel.error("endpointAddress", f"{shown(endpoint)}: expected host:port")
    otel.choice("protocol", _PROTOCOLS)
    if not otel.text("timeout").strip().isdecimal():  # those are milliseconds
        _duration(otel, "timeout")
    _headers(otel)


def _headers(otel: Node) -> None:
    """In files they may be texts; in a cluster its definition lets none of them in."""
    given = otel.value.get("headers")
    texts = given.split(",") if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(each, str) for each in texts):
        for number, text in enumerate(texts):
            if not text.partition("=")[0].strip() or "=" not in text:
                otel.error(f"headers[{number}]", "expected name=value")  # it may be a secret
        return
    for header in otel.nodes("headers"):
        header.required("name")
        check_source(header)


def _metrics(spec: Node) -> None:
    for name in ("metric", "metrics"):
        section = spec.node(name)
        buckets = section.value.get("latencyDistributionBuckets")
        if isinstance(buckets, list) and not all(map(_is_bound, buckets)):
            section.error("latencyDistributionBuckets", "expected milliseconds, 0 or more")
        for pattern, path in section.node("http").texts("pathMatching"):
            if not pattern.startswith("/"):
                section.problems.error(path, f"{shown(pattern)}: expected a leading slash")
        for rule in section.nodes("rules"):
            rule.required("name")
            for label in rule.nodes("labels"):
                label.required("name")
                for _, expression, path in label.entries("regex"):
                    _expression(label, str(expression), path)


def _expression(node: Node, text: str, path: str) -> None:
    try:
        compile_expression(text)
    except re.error as error:
        node.problems.error(path, f"{shown(text)} is no regular expression: {error}")


def _mtls(spec: Node) -> None:
    mtls = spec.node("mtls")
    _duration(mtls, "workloadCertTTL", positive=True)
    _duration(mtls, "allowedClockSkew")
    _trust_domain(mtls, "controlPlaneTrustDomain")
    names: set[str] = set()
    for validator in mtls.nodes("tokenValidators"):
        name = validator.choice("name", ("jwks",))
        if name in names:
            validator.error("name", f"{shown(name)} is there twice", "FieldValueDuplicate")
        names.add(name)


def _access_control(spec: Node) -> None:
    section = spec.node("accessControl")
    section.choice("defaultAction", _ACTIONS)
    _trust_domain(section, "trustDomain")
    seen: set[tuple[str, str]] = set()
    for policy in section.nodes("policies"):
        caller = policy.required("appId"), policy.required("namespace")
        policy.required("trustDomain")
        policy.choice("defaultAction", _ACTIONS)
        if all(caller) and caller in seen:
            policy.problems.warning(
                policy.path,
                f"{caller[0]} in {caller[1]} has a policy already: only this one counts",
            )
        seen.add(caller)
        for operation in policy.nodes("operations"):
            _operation(operation)


def _operation(operation: Node) -> None:
    operation.required("name")
    if operation.required("action"):
        operation.choice("action", _ACTIONS)
    for verb, path in operation.texts("httpVerb"):
        if verb.upper() not in _VERBS:
            text = f"{shown(verb)} is no HTTP verb"
            operation.problems.error(path, text, "FieldValueNotSupported")


def _pipelines(spec: Node) -> None:
    for name in ("httpPipeline", "appHttpPipeline"):
        for handler in spec.node(name).nodes("handlers"):
            handler.required("name")
            if not (type_name := handler.required("type")):
                continue
            if not type_name.lower().startswith("middleware."):
                handler.error("type", f"{shown(type_name)}: expected middleware.http. and a name")
            else:
                check_type(handler, "type", type_name)


def _name_resolution(spec: Node) -> None:
    section = spec.node("nameResolution")
    if component := section.text("component").strip():
        check_type(section, "component", f"nameresolution.{component}")


def _secrets(spec: Node) -> None:
    seen: set[str] = set()
    for scope in spec.node("secrets").nodes("scopes"):
        store = scope.required("storeName")
        if store and store in seen:
            scope.error("storeName", f"{shown(store)} is there twice", "FieldValueDuplicate")
        seen.add(store)
        scope.choice("defaultAccess", _ACTIONS)
        allowed = {name for name, _ in scope.texts("allowedSecrets")}
        for name, path in scope.texts("deniedSecrets"):
            if name in allowed:
                scope.problems.error(path, f"{shown(name)} is in allowedSecrets, too")


def _api(spec: Node) -> None:
    for name in ("allowed", "denied"):
        for rule in spec.node("api").nodes(name):
            if (api := rule.required("name")) and api.partition("/")[0] not in _APIS:
                rule.error(
                    "name",
                    f"there is no API {shown(api)}{rule.problems.hints.did_you_mean(api, _APIS)}",
                    "FieldValueNotSupported",
                )
            version = rule.required("version")
            if version and not _API_VERSION.fullmatch(version):
                rule.error("version", f"{shown(version)}: expected v1, v1alpha1 or the like")
            if not rule.choice("protocol", _PROTOCOLS) and not rule.text("protocol"):
                rule.problems.warning(
                    rule.at("protocol"), "without http or grpc this has no effect"
                )


def _workflow(spec: Node) -> None:
    section = spec.node("workflow")
    for name in _CONCURRENCY:
        value = section.value.get(name)
        if isinstance(value, int) and value < 0:
            section.error(name, "must not be negative")
    retention = section.node("stateRetentionPolicy")
    for name in _RETENTION:
        _duration(retention, name)


def _features(spec: Node) -> None:
    for feature in spec.nodes("features"):
        feature.required("name")


_SECTIONS: tuple[Callable[[Node], None], ...] = (
    _tracing,
    _metrics,
    _mtls,
    _access_control,
    _pipelines,
    _name_resolution,
    _secrets,
    _api,
    _workflow,
    _features,
)


def _duration(node: Node, name: str, *, positive: bool = False) -> None:
    if text := node.text(name).strip():
        _report(node, name, duration_problem(text, positive=positive))


def _trust_domain(node: Node, name: str) -> None:
    if text := node.text(name).strip():
        try:
            parse_trust_domain(text)
        except SpiffeError as error:
            node.error(name, f"{shown(text)}: {error}")


def _report(node: Node, name: str, problem: str) -> None:
    if problem:
        node.error(name, problem)


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _is_bound(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and value >= 0
