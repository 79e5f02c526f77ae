"""What may be shown of manifests and command lines: never a secret. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.resources import Component, NameValue
from dapr_common.kube.validation.catalogue import Field, catalogue

HIDDEN = "••••••"
_SECRET_WORDS = re.compile(
    r"pass(word|wd|phrase)?$|passw|secret|token|api-?key|access-?key|private-?key|account-?key"
    r"|shared-?key|encryption-?key|master-?key|credential|connection-?string|authorization"
    r"|cookie|signature|^sas|^key$|^pwd$|^dsn$|bearer",
    re.IGNORECASE,
)
# Names that hold such a word and only say where a secret is, or how long it lives.
_HARMLESS = re.compile(
    r"(ref|store|name|namespace|path|file|audience|ttl|timeout|url|uri|scopes?|enabled|issuer"
    r"|validators?|trustdomain)$|^(allowed|denied)?secrets$|^secret(keyref|store|storecomponent)$",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"((?:password|pwd|accountkey|sharedaccesskey|sharedaccesssignature|secret|token|sig)\s*[=]\s*)"
    r"(\"[^\"]*\"|'[^']*'|[^;&,\s]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting of a component as it may be seen. ``origin`` says where a hidden one lives."""

    name: str
    text: str
    origin: str = ""


def settings_of(component: Component) -> list[Shown]:
    """A component's metadata: what is secret by its reference, its kind or its name is hidden."""
    fields = _fields(component)
    return [_shown(entry, component, fields) for entry in component.metadata]


def _fields(component: Component) -> dict[str, Field]:
    known = catalogue()
    versions = known.types.get(component.type.lower(), {})
    entries = versions.get(component.version) or next(iter(versions.values()), ())
    entries = (*entries, *known.kinds.get(component.category, ()))
    return {name.lower(): entry for entry in entries for name in entry.names}


def _shown(entry: NameValue, component: Component, fields: Mapping[str, Field]) -> Shown:
    if (reference := entry.secret_key_ref) is not None:
        store = component.secret_store or "the default store"
        key = f"/{reference.key}" if reference.key else ""
        return Shown(entry.name, HIDDEN, f"secret {reference.name}{key} of {store}")
    if entry.env_ref:
        return Shown(entry.name, HIDDEN, f"environment variable {entry.env_ref}")
    field = fields.get(entry.name.lower())
    if entry.value and ((field is not None and field.secret) or is_secret_name(entry.name)):
        return Shown(entry.name, HIDDEN, "in the manifest")
    return Shown(entry.name, text(entry.value or ""))


def is_secret_name(name: str) -> bool:
    """Whether what is called so is likely to be a secret."""
    return bool(_SECRET_WORDS.search(name.replace("_", "-"))) and not _HARMLESS.search(
        name.replace("_", "").replace("-", "")
    )


def text(value: str) -> str:
    """A text without the credentials that URLs and connection strings in it hold."""
    return _IN_TEXT.sub(rf"\1{HIDDEN}", _IN_URL.sub(rf"\1{HIDDEN}@", value))


def tree(value: Any, name: str = "") -> Any:
    """A parsed document with the values of secret names hidden."""
    if isinstance(value, Mapping):
        own = value.get("name")
        hides = name.lower() == "headers" or is_secret_name(str(own))
        if own and value.get("value") not in (None, "") and hides:
            return {**tree({k: v for k, v in value.items() if k != "value"}), "value": HIDDEN}
        return {key: tree(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [tree(each, name) for each in value]
    if value not in (None, "") and not isinstance(value, bool) and is_secret_name(name):
        return HIDDEN
    if isinstance(value, str) and name.lower() == "headers":
        return _headers(value)
    return text(value) if isinstance(value, str) else value


def _headers(value: str) -> str:
    """``name=value,name=value`` as exporters take them: all values are hidden."""
    return ",".join(f"{each.partition('=')[0]}={HIDDEN}" for each in value.split(",") if each)


def command(words: Sequence[str]) -> str:
    """A command line: the values of flags and variables with secret names are hidden."""
    shown: list[str] = []
    hide = False
    for word in words:
        name, equals, _ = word.partition("=")
        flag = name.lstrip("-")
        if hide and not word.startswith("-"):
            shown.append(HIDDEN)
            hide = False
            continue
        hide = not equals and word.startswith("-") and is_secret_name(flag)
        shown.append(f"{name}={HIDDEN}" if equals and is_secret_name(flag) else text(word))
    return " ".join(shown)
