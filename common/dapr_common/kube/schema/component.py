"""``kind: Component``."""

from __future__ import annotations

from dapr_common.kube.schema import parts
from dapr_common.kube.schema.fields import boolean, record, required, sequence, text
from dapr_common.kube.schema.resource import AGE, Column, CustomResource, Version
from dapr_common.kube.schema.status import COMPONENT_STATUS

_SPEC = record(
    "What to load and its settings.",
    type=required(text("Building block and implementation, such as state.redis.")),
    version=required(text("Version of the implementation, such as v1.")),
    metadata=required(
        sequence("Settings of the component.", parts.name_value("One setting of the component."))
    ),
    initTimeout=text("How long loading may take, as a Go duration; 5s when empty."),
    ignoreErrors=boolean("Go on without the component when it cannot be loaded."),
)

COMPONENT = CustomResource(
    kind="Component",
    plural="components",
    versions=(
        Version(
            "v1alpha1",
            "A building block's implementation that sidecars load, such as a state store.",
            {
                "metadata": parts.METADATA,
                "spec": _SPEC,
                "auth": parts.AUTH,
                "scopes": parts.SCOPES,
                "status": COMPONENT_STATUS,
            },
            (
                Column("Type", ".spec.type", "Building block and implementation."),
                Column("Version", ".spec.version", "Version of the implementation."),
                Column("Loaded", ".status.loaded", "Sidecars that have loaded it."),
                Column(
                    "Last Error",
                    ".status.lastError.message",
                    "What the last sidecar that could not load it said.",
                ),
                AGE,
            ),
        ),
    ),
)
