from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dapr_common.kube.validation.objects import validate
from dapr_common.kube.validation.resiliency import policy_names
from dapr_common.match_expressions import MissingEvaluatorError

Said = Callable[..., list[str]]

CONFIGURATION = [
    ("tracing: {samplingRate: often}", 'spec.tracing.samplingRate: "often": expected a number'),
    ("tracing: {samplingRate: '2'}", 'spec.tracing.samplingRate: "2": expected a number'),
    (
        "tracing: {zipkin: {endpointAddress: 'zipkin:9411'}}",
        'spec.tracing.zipkin.endpointAddress: "zipkin:9411" is no URL',
    ),
    ("tracing: {zipkin: {}}", "spec.tracing.zipkin.endpointAddress: is required"),
    ("tracing: {otel: {isSecure: false}}", "spec.tracing.otel.endpointAddress: is required"),
    (
        "tracing: {otel: {endpointAddress: 'c:1', protocol: htp}}",
        'spec.tracing.otel.protocol: "htp": expected http or grpc',
    ),
    (
        "tracing: {otel: {endpointAddress: 'c:1', timeout: 10x}}",
        'spec.tracing.otel.timeout: invalid duration "10x"',
    ),
    (
        "tracing: {otel: {endpointAddress: 'c:1', headers: [{value: v}]}}",
        "spec.tracing.otel.headers[0].name: is required",
    ),
    (
        "tracing: {otel: {endpointAddress: 'c:1', headers: [a=b, topsecret]}}",
        "spec.tracing.otel.headers[1]: expected name=value",
    ),
    ("metrics: {latencyDistributionBuckets: [1, -2]}", "spec.metrics.latencyDistributionBuckets"),
    (
        "metric: {http: {pathMatching: [orders]}}",
        'spec.metric.http.pathMatching[0]: "orders": expected a leading slash',
    ),
    ("metrics: {rules: [{labels: []}]}", "spec.metrics.rules[0].name: is required"),
    (
        "metric: {rules: [{name: m, labels: [{name: l, regex: {'/orders/x': '/orders/('}}]}]}",
        'spec.metric.rules[0].labels[0].regex./orders/x: "/orders/(" is no regular expression: ',
    ),
    (
        "metric: {rules: [{name: m, labels: [{name: l, regex: {'/x': '" + "(" * 5000 + "'}}]}]}",
        'spec.metric.rules[0].labels[0].regex./x: "((((',
    ),
    (
        "tracing: {otel: {endpointAddress: 'c:1', timeout: soon}}",
        'spec.tracing.otel.timeout: invalid duration "soon"',
    ),
    ("mtls: {workloadCertTTL: 1 day}", 'spec.mtls.workloadCertTTL: invalid duration "1 day"'),
    ("mtls: {workloadCertTTL: 0s}", 'spec.mtls.workloadCertTTL: "0s" must be more than 0'),
    ("mtls: {allowedClockSkew: x}", 'spec.mtls.allowedClockSkew: invalid duration "x"'),
    ("mtls: {controlPlaneTrustDomain: 'A B'}", "spec.mtls.controlPlaneTrustDomain: "),
    (
        "mtls: {tokenValidators: [{name: kubernetes}]}",
        'spec.mtls.tokenValidators[0].name: "kubernetes": expected jwks',
    ),
    (
        "accessControl: {defaultAction: refuse}",
        'spec.accessControl.defaultAction: "refuse": expected allow or deny',
    ),
    (
        "accessControl: {policies: [{namespace: n, trustDomain: t}]}",
        "spec.accessControl.policies[0].appId: is required",
    ),
    (
        (
            "accessControl: {policies: [{appId: a, namespace: n, trustDomain: t, "
            "operations: [{name: /a, action: alow}]}]}"
        ),
        'spec.accessControl.policies[0].operations[0].action: "alow": expected allow or deny',
    ),
    (
        (
            "accessControl: {policies: [{appId: a, namespace: n, trustDomain: t, "
            "operations: [{name: /a, action: allow, httpVerb: [POTS]}]}]}"
        ),
        'spec.accessControl.policies[0].operations[0].httpVerb[0]: "POTS" is no HTTP verb',
    ),
    (
        "httpPipeline: {handlers: [{name: a, type: middleware.http.uppercas}]}",
        (
            'spec.httpPipeline.handlers[0].type: unknown type "middleware.http.uppercas", '
            'did you mean "middleware.http.uppercase"?'
        ),
    ),
    (
        "appHttpPipeline: {handlers: [{name: a, type: state.redis}]}",
        'spec.appHttpPipeline.handlers[0].type: "state.redis": expected middleware.http.',
    ),
    (
        "httpPipeline: {handlers: [{type: middleware.http.uppercase}]}",
        "spec.httpPipeline.handlers[0].name: is required",
    ),
    (
        "nameResolution: {component: consl}",
        'spec.nameResolution.component: unknown type "nameresolution.consl", did you mean',
    ),
    (
        "secrets: {scopes: [{storeName: a}, {storeName: a}]}",
        'spec.secrets.scopes[1].storeName: "a" is there twice',
    ),
    (
        "secrets: {scopes: [{storeName: a, allowedSecrets: [s], deniedSecrets: [t, s]}]}",
        'spec.secrets.scopes[0].deniedSecrets[1]: "s" is in allowedSecrets, too',
    ),
    (
        "secrets: {scopes: [{storeName: a, defaultAccess: none}]}",
        'spec.secrets.scopes[0].defaultAccess: "none": expected allow or deny',
    ),
    (
        "api: {allowed: [{name: states, version: v1, protocol: http}]}",
        'spec.api.allowed[0].name: there is no API "states", did you mean "state"?',
    ),
    (
        "api: {denied: [{name: state, version: '1', protocol: http}]}",
        'spec.api.denied[0].version: "1": expected v1',
    ),
    (
        "api: {denied: [{name: state, version: v1, protocol: udp}]}",
        'spec.api.denied[0].protocol: "udp": expected http or grpc',
    ),
    (
        "workflow: {stateRetentionPolicy: {failed: long}}",
        'spec.workflow.stateRetentionPolicy.failed: invalid duration "long"',
    ),
    (
        "workflow: {maxConcurrentWorkflowInvocations: -1}",
        "spec.workflow.maxConcurrentWorkflowInvocations: must not be negative",
    ),
    ("features: [{enabled: true}]", "spec.features[0].name: is required"),
    ("tracing: on-and-on", "spec.tracing: expected an object"),
]
RESILIENCY = [
    ("policies: {timeouts: {t: soon}}", 'spec.policies.timeouts.t: invalid duration "soon"'),
    (
        "policies: {retries: {r: {policy: linear}}}",
        "spec.policies.retries.r.policy: expected constant or exponential",
    ),
    (
        "policies: {retries: {r: {duration: 5}}, circuitBreakers: {c: {timeout: 1 hour}}}",
        'spec.policies.circuitBreakers.c.timeout: invalid duration "1 hour"',
    ),
    (
        "policies: {retries: {r: {maxRetries: many}}}",
        "spec.policies.retries.r.maxRetries: expected an integer",
    ),
    (
        "policies: {retries: {r: {matching: {httpStatusCodes: '600'}}}}",
        'spec.policies.retries.r.matching: httpStatusCodes: invalid status code "600"',
    ),
    (
        "policies: {retries: {r: {matching: {gRPCStatusCodes: '5-2'}}}}",
        'spec.policies.retries.r.matching: gRPCStatusCodes: invalid range "5-2"',
    ),
    (
        "policies: {circuitBreakers: {c: {trip: consecutiveFailure > 5}}}",
        'spec.policies.circuitBreakers.c.trip: invalid trip expression "consecutiveFailure > 5"',
    ),
    (
        "{policies: {retries: {important: {}}}, targets: {apps: {a: {retry: imporant}}}}",
        (
            'spec.targets.apps.a.retry: there is no policy "imporant" in spec.policies.retries, '
            'did you mean "important"?'
        ),
    ),
    (
        "targets: {components: {s: {inbound: {timeout: t}}}}",
        (
            'spec.targets.components.s.inbound.timeout: there is no policy "t" in '
            "spec.policies.timeouts"
        ),
    ),
    (
        "{policies: {circuitBreakers: {c: {}}}, targets: {actors: {T: {circuitBreaker: c}}}}",
        "spec.targets.actors.T: actor circuit breakers must include scope",
    ),
    ("policies: {retries: [r]}", "spec.policies.retries: expected an object"),
]
SUBSCRIPTION = [
    ("{topic: t, routes: {default: /a}}", "spec.pubsubname: is required"),
    ("{pubsubname: p, routes: {default: /a}}", "spec.topic: is required"),
    (
        "{pubsubname: p, topic: t, routes: {rules: [{match: 'event.type ==', path: /a}]}}",
        "spec.routes.rules[0].match: match expression 'event.type ==' is not valid CEL",
    ),
    (
        """{pubsubname: p, topic: t, routes: {rules: [{match: 'evnt.type == "a"', path: /a}]}}""",
        "spec.routes.rules[0].match: match expression 'evnt.type == \"a\"' failed: Undefined",
    ),
    (
        """{pubsubname: p, topic: t, routes: {rules: [{match: '"a"', path: /a}]}}""",
        'spec.routes.rules[0].match: the result of match expression "a" was not a boolean',
    ),
    (
        "{pubsubname: p, topic: t, routes: {rules: [{match: 'true'}]}}",
        "spec.routes.rules[0].path: is required",
    ),
    (
        "{pubsubname: p, topic: t, routes: {default: /a}, bulkSubscribe: {maxMessagesCount: -1}}",
        "spec.bulkSubscribe.maxMessagesCount: must not be negative",
    ),
]
ENDPOINT = [
    ("headers: []", "spec.baseUrl: is required"),
    ("baseUrl: api.example.com", 'spec.baseUrl: "api.example.com" is no URL'),
    ("baseUrl: 'http://a:99999'", 'spec.baseUrl: "http://a:99999" is no URL'),
    ("{baseUrl: 'http://a', headers: [{value: v}]}", "spec.headers[0].name: is required"),
    (
        "{baseUrl: 'http://a', headers: [{name: h, secretKeyRef: {}}]}",
        "spec.headers[0].secretKeyRef.name: is required",
    ),
    (
        "{baseUrl: 'https://a', clientTLS: {certificate: {value: c}}}",
        "spec.clientTLS: certificate and privateKey need each other",
    ),
    (
        "{baseUrl: 'https://a', clientTLS: {renegotiation: Sometimes}}",
        'spec.clientTLS.renegotiation: "Sometimes": expected Never or',
    ),
]
CASES = [
    *(("Configuration", "v1alpha1", *case) for case in CONFIGURATION),
    *(("Resiliency", "v1alpha1", *case) for case in RESILIENCY),
    *(("Subscription", "v2alpha1", *case) for case in SUBSCRIPTION),
    *(("HTTPEndpoint", "v1alpha1", *case) for case in ENDPOINT),
    ("Subscription", "v1alpha1", "{topic: t, route: /a}", "spec.pubsubname: is required"),
]


@pytest.mark.parametrize(("kind", "version", "spec", "message"), CASES)
def test_what_is_refused(said: Said, kind: str, version: str, spec: str, message: str) -> None:
    [found] = said(kind, spec, version)
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("kind", "version", "spec", "message"),
    [
        (
            "Configuration",
            "v1alpha1",
            "api: {allowed: [{name: state, version: v1.0-alpha1}]}",
            "spec.api.allowed[0].protocol: without http or grpc this has no effect",
        ),
        (
            "Configuration",
            "v1alpha1",
            "httpPipeline: {handlers: [{name: a, type: middleware.http.wasm}]}",
            'spec.httpPipeline.handlers[0].type: "middleware.http.wasm" is no type',
        ),
        (
            "Subscription",
            "v2alpha1",
            "{pubsubname: p, topic: t, deadLetterTopic: t, routes: {default: /a}}",
            'spec.deadLetterTopic: "t" is the topic itself: events come back',
        ),
        ("Subscription", "v1alpha1", "{pubsubname: p, topic: t}", "spec.route: there is no route"),
    ],
)
def test_what_is_only_told(said: Said, kind: str, version: str, spec: str, message: str) -> None:
    [found] = said(kind, spec, version)
    assert found.startswith(f"warning: {message}")


@pytest.mark.parametrize("word", ["Never", "RenegotiateOnceAsClient", "renegotiatenever"])
def test_words_of_the_definition_and_of_dapr_s_files(said: Said, word: str) -> None:
    spec = f"{{baseUrl: 'https://a', clientTLS: {{renegotiation: {word}}}}}"
    assert said("HTTPEndpoint", spec) == []


def test_policies_of_other_resources_count(make_body: Callable[..., dict[str, Any]]) -> None:
    other = make_body("Resiliency", "policies: {timeouts: {long: 1m}}")
    body = make_body("Resiliency", "targets: {apps: {a: {timeout: long}}}")
    assert len(validate(body)) == 1
    assert validate(body, policy_names(other)) == []


def test_built_in_policies_are_there(said: Said) -> None:
    assert said("Resiliency", "targets: {apps: {a: {retry: DaprBuiltInServiceRetries}}}") == []


def test_without_an_evaluator_expressions_are_not_checked(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_here() -> Any:
        raise MissingEvaluatorError("it is not installed")

    monkeypatch.setattr("dapr_common.match_expressions._evaluator", none_here)
    spec = "{pubsubname: p, topic: t, routes: {rules: [{match: 'a ==', path: /a}]}}"
    [found] = said("Subscription", spec, "v2alpha1")
    assert found.startswith("warning: spec.routes.rules[0].match: it is not checked")


def test_other_kinds_are_none_of_ours() -> None:
    assert validate({"apiVersion": "v1", "kind": "Pod", "spec": 7}) == []
