"""Fields that several kinds have."""

from __future__ import annotations

from dapr_common.kube.schema.fields import Field, anything, record, required, text, texts

METADATA = Field(type="object")  # Kubernetes describes it, and refuses any word about it here

SCOPES = texts("App ids of the sidecars this is for; all of the namespace when empty.")

AUTH = record(
    "Where the secrets named in secretKeyRef are looked up.",
    secretStore=required(text("Secret store component; Kubernetes' own secrets when empty.")),
)

SECRET_KEY_REF = record(
    "Take the value from a secret store instead of writing it here.",
    name=required(text("Name of the secret.")),
    key=text("Key inside the secret; its name when empty."),
)


def name_value(description: str) -> Field:
    """A named value: written out, from a secret store or from the sidecar's environment."""
    return record(
        description,
        name=required(text("Name of the setting.")),
        value=anything("Value; anything but a string is passed on as its JSON text."),
        secretKeyRef=SECRET_KEY_REF,
        envRef=text("Environment variable of the sidecar that holds the value."),
    )
