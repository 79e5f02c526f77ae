"""Every metric of sentry."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry


class SentryMetrics:
    """Counters and gauges, bound once."""

    def __init__(self, registry: Registry) -> None:
        self.received = registry.counter(
            "dapr_sentry_cert_sign_request_received_total", text="certificate requests received"
        ).at()
        self.signed = registry.counter(
            "dapr_sentry_cert_sign_success_total", text="certificates issued"
        ).at()
        self.failed = registry.counter(
            "dapr_sentry_cert_sign_failure_total",
            ["reason"],
            "certificate requests refused or failed",
        )
        self.refused = registry.counter(
            "dapr_sentry_cert_sign_refused_total",
            ["validator", "reason"],
            "the same by validator and by what was wrong",
        )
        self.server_certificate_failed = registry.counter(
            "dapr_sentry_servercert_issue_failed_total",
            ["reason"],
            "failures to issue sentry's own certificate",
        )
        self.issuer_changed = registry.counter(
            "dapr_sentry_issuercert_changed_total", text="changes of the issuer certificate seen"
        ).at()
        self.issuer_expiry = registry.gauge(
            "dapr_sentry_issuercert_expiry_timestamp",
            text="end of the issuer certificate, Unix seconds",
        ).at()
        self.root_expiry = registry.gauge(
            "dapr_sentry_rootcert_expiry_timestamp",
            text="end of the root above the issuer, Unix seconds",
        ).at()
        self.reload_failed = registry.counter(
            "dapr_sentry_reload_failed_total",
            text="changes of files or configuration that could not be taken over",
        ).at()
