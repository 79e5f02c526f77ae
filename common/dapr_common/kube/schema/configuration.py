"""``kind: Configuration``."""

from __future__ import annotations

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.configuration_telemetry import LOGGING, METRICS, TRACING
from dapr_common.kube.schema.fields import (
    boolean,
    integer,
    open_record,
    record,
    required,
    sequence,
    text,
    texts,
)
from dapr_common.kube.schema.resource import AGE, Column, CustomResource, Version
from dapr_common.kube.schema.status import READY, STATUS

_PIPELINE_HANDLER = record(
    "One middleware.",
    name=required(text("Name of its component.")),
    type=required(text("Type of its component, such as middleware.http.ratelimit.")),
    selector=record(
        "Requests it is for.",
        fields=required(
            sequence(
                "What a request must have.",
                record(
                    "One property of a request.",
                    field=required(text("Its name.")),
                    value=required(text("What it must be.")),
                ),
            )
        ),
    ),
)

_ACCESS_CONTROL = record(
    "Which apps may invoke which methods of the app.",
    defaultAction=text("allow or deny, when no policy says otherwise."),
    trustDomain=text("Trust domain that the app belongs to."),
    policies=sequence(
        "What each calling app may do.",
        record(
            "What one calling app may do.",
            appId=required(text("App id of the caller.")),
            namespace=text("Namespace of the caller."),
            trustDomain=text("Trust domain of the caller."),
            defaultAction=text("allow or deny, when no operation says otherwise."),
            operations=sequence(
                "What is allowed or denied to it.",
                record(
                    "One operation.",
                    name=required(text("Path of the method; /* stands for all below.")),
                    httpVerb=texts("HTTP verbs; * stands for all."),
                    action=required(text("allow or deny.")),
                ),
            ),
        ),
    ),
)

_API_RULE = record(
    "Part of the API.",
    name=required(text("Name of the API, such as state.")),
    version=required(text("Version of the API, such as v1.")),
    protocol=text("http or grpc."),
)

_SECRETS = record(
    "Which secrets the app may read through the API.",
    scopes=required(
        sequence(
            "One entry for each secret store.",
            record(
                "What may be read from one store.",
                storeName=required(text("Name of the secret store.")),
                defaultAccess=text("allow or deny; allow when empty."),
                allowedSecrets=texts("The only secrets that may be read."),
                deniedSecrets=texts("Secrets that may not be read."),
            ),
        )
    ),
)

_MTLS = record(
    "Identities and mutual TLS.",
    enabled=required(boolean("Whether sidecars speak mutual TLS.")),
    workloadCertTTL=text("How long a sidecar's certificate is valid, as a Go duration."),
    allowedClockSkew=text("Difference of clocks that certificates allow for, as a Go duration."),
    controlPlaneTrustDomain=required(text("Trust domain of the control plane.")),
    sentryAddress=required(text("Where sentry is.")),
    tokenValidators=sequence(
        "More ways for a sidecar to prove to sentry who it is.",
        record(
            "One way.",
            name=required(text("Its name.", enum=("jwks",))),
            options=open_record("Its settings."),
        ),
    ),
)

_CONCURRENCY_LIMIT = record(
    "A limit of its own.",
    name=text("Name of the workflow or activity."),
    maxConcurrent=integer("Most of them at a time.", bits=32),
)

_WORKFLOW = record(
    "Limits of workflows.",
    maxConcurrentWorkflowInvocations=integer(
        "Most workflows that a sidecar runs at a time.", bits=32
    ),
    maxConcurrentActivityInvocations=integer(
        "Most activities that a sidecar runs at a time.", bits=32
    ),
    globalMaxConcurrentWorkflowInvocations=integer(
        "Most workflows that all sidecars of the app run at a time.", bits=32
    ),
    globalMaxConcurrentActivityInvocations=integer(
        "Most activities that all sidecars of the app run at a time.", bits=32
    ),
    workflowConcurrencyLimits=sequence("Limits of single workflows.", _CONCURRENCY_LIMIT),
    activityConcurrencyLimits=sequence("Limits of single activities.", _CONCURRENCY_LIMIT),
    stateRetentionPolicy=record(
        "How long the state of workflows that have ended is kept, as Go durations.",
        anyTerminal=text("However they ended, where nothing below says otherwise."),
        completed=text("After they were completed."),
        failed=text("After they failed."),
        terminated=text("After they were terminated."),
    ),
)

_SPEC = record(
    "Settings by topic.",
    accessControl=_ACCESS_CONTROL,
    api=record(
        "Parts of the sidecar's API that are there at all.",
        allowed=sequence("The only parts; all when empty.", _API_RULE),
        denied=sequence("Parts that are not there.", _API_RULE),
    ),
    appHttpPipeline=record(
        "Middleware of requests to the app.",
        handlers=required(sequence("In the order requests pass them.", _PIPELINE_HANDLER)),
    ),
    components=record(
        "Components that may be used.",
        deny=texts("Types that are not loaded, such as bindings.smtp or state.redis/v1."),
    ),
    features=sequence(
        "Features that are switched on or off.",
        record(
            "One feature.",
            name=required(text("Its name.")),
            enabled=required(boolean("Whether it is on.")),
        ),
    ),
    httpPipeline=record(
        "Middleware of requests to the sidecar.",
        handlers=required(sequence("In the order requests pass them.", _PIPELINE_HANDLER)),
    ),
    logging=LOGGING,
    metric=METRICS,
    metrics=METRICS,
    mtls=_MTLS,
    nameResolution=record(
        "How the addresses of other apps are found.",
        component=required(text("Name resolution component, such as consul.")),
        version=required(text("Version of the component, such as v1.")),
        configuration=required(open_record("Settings of the component.")),
    ),
    secrets=_SECRETS,
    tracing=TRACING,
    wasm=record(
        "WebAssembly components.",
        strictSandbox=boolean("Give them a pretended clock and pretended randomness."),
    ),
    workflow=_WORKFLOW,
)

CONFIGURATION = CustomResource(
    kind="Configuration",
    plural="configurations",
    versions=(
        Version(
            "v1alpha1",
            "Settings of the sidecars that name it; daprsystem has those of the control plane.",
            {"metadata": parts.METADATA, "spec": _SPEC, "status": STATUS},
            (
                READY,
                Column("mTLS", ".spec.mtls.enabled", "Mutual TLS.", type="boolean", is_wide=True),
                Column("Sampling", ".spec.tracing.samplingRate", "Traces kept.", is_wide=True),
                AGE,
            ),
        ),
    ),
)
