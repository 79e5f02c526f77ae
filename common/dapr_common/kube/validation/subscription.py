"""``kind: Subscription``, both versions, and ``kind: HTTPEndpoint``."""

from __future__ import annotations

from dapr_common.kube.validation.problems import Node, shown
from dapr_common.kube.validation.references import check_source
from dapr_common.kube.validation.values import url_problem
from dapr_common.match_expressions import MissingEvaluatorError, RuleError, check_match

_RENEGOTIATION = ("Never", "OnceAsClient", "FreelyAsClient")
"""What the definition has; in files also with ``Renegotiate`` in front."""
_TLS = ("rootCA", "certificate", "privateKey")


def check_subscription_v1(body: Node) -> None:
    """The older version: one route."""
    spec = _check_common(body)
    if not spec.text("route").strip():
        _warn_of_no_route(spec, "route")


def check_subscription(body: Node) -> None:
    """Rules and a default route."""
    spec = _check_common(body)
    routes = spec.node("routes")
    rules = routes.nodes("rules")
    if not rules and not routes.text("default").strip():
        _warn_of_no_route(spec, "routes")
    for rule in rules:
        rule.required("path")
        try:
            check_match(rule.text("match"))
        except MissingEvaluatorError as error:
            rule.problems.warning(rule.at("match"), f"it is not checked: {error}")
        except RuleError as error:
            rule.error("match", str(error))


def check_http_endpoint(body: Node) -> None:
    """A base URL, headers and TLS."""
    spec = body.node("spec")
    if (url := spec.required("baseUrl")) and (problem := url_problem(url)):
        spec.error("baseUrl", problem)
    for header in spec.nodes("headers"):
        header.required("name")
        check_source(header)
    tls = spec.node("clientTLS")
    for name in _TLS:
        if tls.has(name):
            check_source(tls.node(name))
    if tls.has("certificate") != tls.has("privateKey"):
        text = "certificate and privateKey need each other"
        spec.error("clientTLS", text, "FieldValueRequired")
    words = (*_RENEGOTIATION, *(f"Renegotiate{word}" for word in _RENEGOTIATION))
    tls.choice("renegotiation", words)


def _warn_of_no_route(spec: Node, name: str) -> None:
    spec.problems.warning(
        spec.at(name), "there is no route: only an app that speaks gRPC gets the events"
    )


def _check_common(body: Node) -> Node:
    spec = body.node("spec")
    spec.required("pubsubname")
    topic = spec.required("topic")
    if topic and spec.text("deadLetterTopic") == topic:
        spec.problems.warning(
            spec.at("deadLetterTopic"), f"{shown(topic)} is the topic itself: events come back"
        )
    bulk = spec.node("bulkSubscribe")
    for name in ("maxMessagesCount", "maxAwaitDurationMs"):
        value = bulk.value.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            bulk.error(name, "expected a whole number")
        elif value is not None and value < 0:
            bulk.error(name, "must not be negative")
    return spec
