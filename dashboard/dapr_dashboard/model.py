"""What the pages show, the same for a machine and a cluster."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

from dapr_dashboard.masking import Shown
from dapr_dashboard.samples import Samples
from dapr_dashboard.shapes import mapping, objects

Health = Literal["good", "warn", "bad", "unknown"]
Platform = Literal["standalone", "kubernetes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sidecar answers. Empty texts are not there.

    ``api`` and ``metrics`` are URLs without a path at their end; with ``socket`` the API is on a
    Unix socket instead.
    """

    api: str = ""
    metrics: str = ""
    socket: str = ""
    token: str = field(default="", repr=False)


NOT_ASKED: Final = "not asked"


@dataclass(frozen=True, slots=True)
class Live:
    """What a sidecar said of itself just now. ``problem`` is why it said nothing."""

    health: Health = "unknown"
    state: str = NOT_ASKED
    metadata: Mapping[str, Any] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    problem: str = ""

    @property
    def version(self) -> str:
        """Of the runtime; empty when not known."""
        return str(self.metadata.get("runtimeVersion") or "")

    def listed(self, name: str) -> list[Mapping[str, Any]]:
        """A list of the metadata, such as ``components``."""
        return objects(self.metadata.get(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One running application's sidecar. A port of 0 is none or not known."""

    namespace: str
    """In self-hosted mode ``local``."""
    name: str
    """Of the pod, or the sidecar's process id: unique in its namespace."""
    app_id: str
    created: datetime
    place: Place
    live: Live = field(default_factory=Live)
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is known, by the words the page has for it."""
    containers: Sequence[str] = ()
    """In a cluster."""
    version: str = ""
    """Of the sidecar's image; what the sidecar itself says wins."""
    configuration: str = ""
    """Name of the Configuration, or its file."""
    resources: Sequence[str] = ()
    """Self-hosted: where its manifests are."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """In a cluster: of the pod."""
    pod: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """In a cluster: as the API server gave it, secrets not hidden yet; see ``pods.manifest``."""

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/apps/{quote(self.namespace, safe='')}/{quote(self.name, safe='')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a resource's ``status``."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFact:
    """A component's manifest."""

    namespace: str
    name: str
    type: str
    version: str
    scopes: Sequence[str] = ()
    settings: Sequence[Shown] = ()
    source: str = ""
    """The file it is in."""
    created: datetime | None = None
    conditions: Sequence[Condition] = ()
    problem: str = ""
    """Why the manifest cannot be read."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Without secrets; empty when it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFact:
    """A Configuration or Resiliency; ``spec`` has no secrets any more."""

    namespace: str
    name: str
    spec: Mapping[str, Any]
    source: str = ""
    created: datetime | None = None
    conditions: Sequence[Condition] = ()
    problem: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The whole document, without secrets."""

    def section(self, *names: str) -> Mapping[str, Any]:
        """An object of the spec; empty when it is not there, or is none."""
        found: Any = self.spec
        for name in names:
            found = mapping(found).get(name)
        return mapping(found)

    @property
    def sampling_rate(self) -> str:
        """Of a Configuration's traces."""
        rate = self.section("tracing").get("samplingRate")
        return "" if rate is None else str(rate)

    @property
    def is_traced(self) -> bool:
        """Whether a Configuration lets requests be traced."""
        return self.sampling_rate not in ("", "0")

    @property
    def is_measured(self) -> bool:
        """Whether a Configuration leaves metrics on."""
        chosen = self.section("metrics") or self.section("metric")
        return bool(chosen.get("enabled", True))

    @property
    def has_mtls(self) -> bool:
        """Whether a Configuration turns mTLS on."""
        return bool(self.section("mtls").get("enabled"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """All manifests there are."""

    components: Sequence[ComponentFact] = ()
    configurations: Sequence[SpecFact] = ()
    resiliencies: Sequence[SpecFact] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFact:
    """One service of the control plane."""

    name: str
    place: str
    """Namespace and pod, or an address."""
    health: Health
    state: str
    version: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class CertificateFact:
    """When a certificate ends."""

    name: str
    source: str
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """Services, certificates, and what could not be found out."""

    services: Sequence[ServiceFact] = ()
    certificates: Sequence[CertificateFact] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log, as it was written. ``nanoseconds`` since 1970; 0 is not known."""

    text: str
    nanoseconds: int = 0


class SourceError(Exception):
    """Facts could not be had; the text is for the page."""


class Source(Protocol):
    """Where facts come from. Every method raises ``SourceError``."""

    title: str
    """What is looked at, such as ``this machine``."""
    platform: Platform
    """What it is, in the words of the API."""

    async def apps(self) -> list[App]:
        """Every application, without asking its sidecar; see ``sidecars.with_live``."""
        ...

    async def resources(self) -> Resources:
        """Manifests."""
        ...

    async def control_plane(self) -> ControlPlane:
        """Of this machine or cluster."""
        ...

    def logs(self, app: App) -> Sequence[str]:
        """Names of the logs of an app that was asked how it is."""
        ...

    async def log(self, app: App, name: str) -> str:
        """The end of one of its logs."""
        ...

    def lines(
        self, app: App, name: str, *, last: int, follow: bool
    ) -> AsyncGenerator[LogLine, None]:
        """The last lines of one of its logs; with ``follow`` also those that come."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...
