"""Names of images and of the places in registries they are pushed to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dapr_cli.errors import CliError

PROGRAMS = frozenset({"daprd", "dashboard", "injector", "operator", "placement", "sentry"})
"""What the chart's pods and sidecars are made of; it has one registry and one tag for all."""

DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:(?P<prefix>[^@]+)/)?(?P<program>{_PART}):(?P<tag>\w[\w.-]{{0,127}})")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(rf"(?:{_PART}(?:/{_PART})*)?")


@dataclass(frozen=True, slots=True)
class ImageName:
    """``prefix/program:tag``; the chart makes the names of its images in the same way."""

    prefix: str
    """The registry's host and the path in it, such as ``localhost/dapr``."""
    program: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """With the host that an engine fills in when none is named. Raises ``ValueError``."""
        if not (found := _NAME.fullmatch(text)):
            raise ValueError(f"'{text}' is no name of an image with a tag, such as host/path:1.0")
        prefix = found["prefix"] or "docker.io/library"
        if not _is_host(prefix.partition("/")[0]):
            prefix = f"docker.io/{prefix}"
        return cls(prefix, found["program"], found["tag"])

    def __str__(self) -> str:
        return f"{self.prefix}/{self.program}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Place:
    """A registry and the path of repositories in it: ``HOST[:PORT]/PATH``."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str, flag: str) -> Place:
        """Raises ``CliError`` that names the flag."""
        host, _, path = text.rstrip("/").partition("/")
        if "://" in text:
            raise CliError(
                f"{flag} {text}: a registry is named without a scheme",
                f"Say {flag} {text.partition('://')[2]}, and --registry-plain-http for plain HTTP.",
            )
        if not (_is_host(host) and _HOST.fullmatch(host) and _PATH.fullmatch(path)):
            raise CliError(
                f"{flag} {text}: this is not HOST[:PORT]/PATH",
                "Such as registry.example.com/dapr or localhost:5000/dapr; the path is in lower "
                "case.",
            )
        return cls(host, path)

    def repository(self, program: str) -> str:
        """Where in the registry the images of a program are."""
        return f"{self.path}/{program}" if self.path else program

    @property
    def server(self) -> str:
        """The host that is really called: that of Docker Hub is not in its images' names."""
        return "registry-1.docker.io" if self.host in DOCKER_HUB else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no one can listen in."""
        name = re.sub(r":[0-9]+$", "", self.host)
        return name in ("localhost", "[::1]") or bool(re.fullmatch(r"127(?:\.\d{1,3}){3}", name))

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


@dataclass(frozen=True, slots=True)
class Common:
    """What the chart is told once for all of its images."""

    registry: str
    tag: str


def common(names: Iterable[str]) -> Common | None:
    """Registry and tag of the chart's images; ``None`` when there are none. Raises ``CliError``."""
    try:
        found = [name for text in names if (name := ImageName.parse(text)).program in PROGRAMS]
    except ValueError as error:
        raise CliError(f"an image of the bundle is of no use in a cluster: {error}") from error
    if len({(name.prefix, name.tag) for name in found}) > 1:
        raise CliError(
            f"the images are of several versions or registries: {', '.join(map(str, found))}",
            "The chart takes all of one: 'make images' with one TAG and one REGISTRY into a new "
            "folder, then 'dapr bundle create --images'.",
        )
    return Common(found[0].prefix, found[0].tag) if found else None


def _is_host(text: str) -> bool:
    return text == "localhost" or "." in text or ":" in text
