"""The status that the control plane writes: what came of a resource in the sidecars."""

from __future__ import annotations

from dataclasses import replace

from dapr_common.kube.schema.fields import integer, moment, record, required, sequence, text
from dapr_common.kube.schema.resource import Column

_CONDITION = record(
    "One thing that is true of the resource or is not.",
    type=required(text("What it is about, such as Ready.", min_length=1)),
    status=required(text("Whether it is so.", enum=("True", "False", "Unknown"))),
    reason=required(text("Why, in one word for programs.", min_length=1)),
    message=required(text("Why, in a sentence for people.")),
    lastTransitionTime=required(moment("When the status became what it is.")),
    observedGeneration=integer("The metadata.generation that was looked at.", bits=64),
)

CONDITIONS = replace(
    sequence("What is known about the resource, one entry for each type.", _CONDITION),
    merge_keys=("type",),
)

STATUS = record("What became of the resource; written by the control plane.", conditions=CONDITIONS)

COMPONENT_STATUS = record(
    "What became of the component in the sidecars; written by the control plane.",
    conditions=CONDITIONS,
    loaded=text("Sidecars that have loaded it of those that should, such as 2/3."),
    sidecars=record(
        "The same as numbers.",
        total=integer("Sidecars that should load it.", bits=32),
        loaded=integer("Sidecars that have loaded it.", bits=32),
        failed=integer("Sidecars in which loading it failed.", bits=32),
    ),
    lastError=record(
        "The newest failure of a sidecar to load it.",
        message=text("What the sidecar said."),
        sidecar=text("Pod of the sidecar."),
        time=moment("When it was."),
    ),
)

READY = Column(
    "Ready",
    '.status.conditions[?(@.type=="Ready")].status',
    "Whether the control plane found it in order.",
)
