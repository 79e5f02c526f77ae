"""``kind: WorkflowAccessPolicy``."""

from __future__ import annotations

from dataclasses import replace

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import Rule, record, required, sequence, text
from dapr_common.kube.schema.resource import AGE, SCOPES, CustomResource, Version

_OPERATIONS = sequence(
    "What the callers may do.",
    text(enum=("schedule", "terminate", "raise", "pause", "resume", "purge", "get", "rerun")),
    min_items=1,
)

_RULE = record(
    "Callers and what they may use.",
    callers=required(
        sequence(
            "Apps the rule is for.",
            record("One app.", appID=required(text("Its app id.", min_length=1))),
            min_items=1,
        )
    ),
    workflows=sequence(
        "Workflows the callers may use.",
        record(
            "A workflow.",
            name=required(text("Its name.", min_length=1)),
            operations=required(replace(_OPERATIONS, is_set=True)),
        ),
    ),
    activities=sequence(
        "Activities the callers may schedule.",
        record("An activity.", name=required(text("Its name.", min_length=1))),
    ),
)

_NOT_EMPTY = Rule(
    "(has(self.workflows) && size(self.workflows) > 0) || "
    "(has(self.activities) && size(self.activities) > 0)",
    "at least one of workflows or activities must contain a rule",
)

_SPEC = record(
    "Who may use what.",
    rules=sequence("The rules.", replace(_RULE, rules=(_NOT_EMPTY,))),
)

WORKFLOW_ACCESS_POLICY = CustomResource(
    kind="WorkflowAccessPolicy",
    plural="workflowaccesspolicies",
    versions=(
        Version(
            "v1alpha1",
            "Which apps may use the workflows and activities of other apps.",
            {"metadata": parts.METADATA, "spec": _SPEC, "scopes": parts.SCOPES},
            (SCOPES, AGE),
        ),
    ),
)
