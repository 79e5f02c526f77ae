"""SPIFFE ids as Dapr writes them: ``spiffe://<trust domain>/ns/<namespace>/<app id>``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


class SpiffeError(ValueError):
    """A text is no SPIFFE id, or no part of one."""


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """One identity. ``more`` is what follows the app id in the path, with its slash."""

    trust_domain: str
    namespace: str
    app_id: str
    more: str = ""

    @property
    def path(self) -> str:
        """``/ns/<namespace>/<app id>`` and whatever follows."""
        return f"/ns/{self.namespace}/{self.app_id}{self.more}"

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """The id a URI names. Raises ``SpiffeError``."""
        if not uri.startswith(_SCHEME):
            raise SpiffeError(f"malformed SPIFFE ID: {uri}: it must start with {_SCHEME}")
        domain, _, path = uri[len(_SCHEME) :].partition("/")
        segments = path.split("/")
        if _TRUST_DOMAIN.fullmatch(domain) is None or not all(map(_is_segment, segments)):
            raise SpiffeError(f"malformed SPIFFE ID: {uri}")
        if len(segments) < 3 or segments[0] != "ns":
            raise SpiffeError(f"malformed SPIFFE ID: {uri}: expected /ns/<namespace>/<app id>")
        more = "".join(f"/{segment}" for segment in segments[3:])
        return cls(domain, segments[1], segments[2], more)

    @classmethod
    def make(cls, trust_domain: str, namespace: str, app_id: str) -> SpiffeId:
        """An id from its parts. Raises ``SpiffeError`` when a part cannot stand in one."""
        for part in (namespace, app_id):
            if not _is_segment(part):
                raise SpiffeError(
                    f"'{part}' cannot be part of a SPIFFE ID: path segment characters are limited "
                    "to letters, numbers, dots, dashes, and underscores"
                )
        return cls(parse_trust_domain(trust_domain), namespace, app_id)


def parse_trust_domain(text: str) -> str:
    """The trust domain in ``text``, which may be a whole SPIFFE id. Raises ``SpiffeError``."""
    name = text.removeprefix(_SCHEME)
    if name != text:
        name = name.partition("/")[0]
    if not name:
        raise SpiffeError("trust domain is missing")
    if _TRUST_DOMAIN.fullmatch(name) is None:
        raise SpiffeError(
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, "
            "and underscores"
        )
    return name


def _is_segment(text: str) -> bool:
    return _SEGMENT.fullmatch(text) is not None and text not in (".", "..")
