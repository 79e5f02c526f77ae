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
_COMMANDS = ("args", "command")
_NAMED_BY_KEY = frozenset({"secretKeyRef", "configMapKeyRef", "tolerations", "matchExpressions"})
"""Parts of Kubernetes' objects in which ``key`` is the name of something."""
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Texts are long and anybody's: every repetition has a bound, so that no line takes long to read.
_QUOTED = r"""(\\?["'])(?:(?!\2).){1,4096}\2"""
_WORD = (
    r"(?:password|passwd|passphrase|pwd|secret|token|credentials?|(?:api|access|account|private|secret"
    r"|shared|encryption|master)[-_]?(?:access)?[-_]?(?:key|signature)|connection[-_]?string|sig)"
)
# Of a URL the host is left, also when the password holds a slash or an at sign of its own.
_IN_URL = re.compile(
    r"""([a-z][a-z0-9+.-]{0,20}://)(?![^\s/@:?#"'<>]{1,255}(?::\d{1,5})?[/?#])[^\s"'<>]{0,512}@""",
    re.IGNORECASE,
)
_IN_DSN = re.compile(r"""[^\s:/@"'=]{1,64}:[^\s@"']{1,512}@((?:tcp|unix)\()""")
_ASSIGNED = re.compile(
    rf"""({_WORD}\s{{0,9}}=\s{{0,9}})(?:{_QUOTED}|[^\s;&,"'<>{{}}\\]{{1,4096}})""", re.IGNORECASE
)
# Only what is quoted on both sides: errors are written as ``invalid field 'password': it is …``.
_IN_JSON = re.compile(rf"""({_WORD}\\?["']\s{{0,9}}:\s{{0,9}}){_QUOTED}""", re.IGNORECASE)
_HEADER = re.compile(
    r"""((?:authorization|x-api-key|dapr-api-token|cookie)\\?["']?\s{0,9}[:=]\s{0,9}\\?["']?"""
    r"""(?:(?:bearer|basic|digest|token)\s{1,9})?)"""
    r"""[^\s"'<>,;\\]{1,4096}(?:;\s{0,9}[^\s"'<>,;\\]{1,4096}){0,32}""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer\s{1,9})(?=\S{0,200}\d|\S{24})[\w.~+/=-]{8,4096}", re.IGNORECASE)
_TOKEN = re.compile(r"\beyJ[\w-]{8,4096}\.[\w-]{8,4096}\.[\w-]{8,4096}")
_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)[^-]{1,16384}")


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
    """A text without the credentials in it: of URLs, connection strings, headers, JSON, tokens.

    ``name: value`` without quotes is left, since errors are written so (``token: expired``).
    """
    value = _KEY.sub(rf"\1{HIDDEN}", value)
    if "@" in value:  # the slower ones; most texts have none
        value = _IN_DSN.sub(rf"{HIDDEN}@\1", _IN_URL.sub(rf"\1{HIDDEN}@", value))
    value = _BEARER.sub(rf"\1{HIDDEN}", _HEADER.sub(rf"\1{HIDDEN}", value))
    return _TOKEN.sub(HIDDEN, _IN_JSON.sub(_named, _ASSIGNED.sub(_named, value)))


def _named(found: re.Match[str]) -> str:
    quote = found[2] or ""
    return f"{found[1]}{quote}{HIDDEN}{quote}"


def tree(value: Any, name: str = "") -> Any:
    """A parsed document with the values of secret names hidden."""
    if isinstance(value, Mapping):
        own = value.get("name")
        hides = name.lower() == "headers" or is_secret_name(str(own))
        if own and value.get("value") not in (None, "") and hides:
            return {**tree({k: v for k, v in value.items() if k != "value"}), "value": HIDDEN}
        found = {key: tree(each, str(key)) for key, each in value.items()}
        if "key" in value and (name in _NAMED_BY_KEY or (name == "items" and "path" in value)):
            found["key"] = value["key"]
        return found
    if isinstance(value, list):
        if name in _COMMANDS and all(isinstance(each, str) for each in value):
            return words(value)
        return [tree(each, name) for each in value]
    if value not in (None, "") and not isinstance(value, bool) and is_secret_name(name):
        return HIDDEN
    if isinstance(value, str) and name.lower() == "headers":
        return _headers(value)
    return text(value) if isinstance(value, str) else value


def _headers(value: str) -> str:
    """``name=value,name=value`` as exporters take them: all values are hidden."""
    return ",".join(f"{each.partition('=')[0]}={HIDDEN}" for each in value.split(",") if each)


def document(body: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest: hidden as in ``tree``, without what Kubernetes keeps of its earlier versions."""
    found = {str(key): each for key, each in body.items()}
    metadata = found.get("metadata")
    if isinstance(metadata, Mapping):
        kept = {key: each for key, each in metadata.items() if key != "managedFields"}
        if isinstance(notes := kept.get("annotations"), Mapping):
            kept["annotations"] = {key: each for key, each in notes.items() if key != _APPLIED}
        found["metadata"] = kept
    return {key: tree(each, key) for key, each in found.items()}


def words(given: Sequence[str]) -> list[str]:
    """A command's words: the values of flags and variables with secret names are hidden."""
    return [text(word) for word in _flags_hidden(given)]


def command(given: Sequence[str]) -> str:
    """The same as one line; a header may stand in several words."""
    return text(" ".join(_flags_hidden(given)))


def _flags_hidden(given: Sequence[str]) -> list[str]:
    shown: list[str] = []
    hide = False
    for word in given:
        name, equals, _ = word.partition("=")
        flag = name.lstrip("-")
        if hide and not word.startswith("--"):
            shown.append(HIDDEN)
            hide = False
            continue
        hide = not equals and word.startswith("-") and is_secret_name(flag)
        shown.append(f"{name}={HIDDEN}" if equals and is_secret_name(flag) else word)
    return shown
