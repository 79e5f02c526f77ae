"""What can be wrong with a document; apart from the scheme, whose library is imported late."""

from __future__ import annotations


class SchemeError(Exception):
    """The document, or what was asked for, is not of this scheme."""


class HeaderError(SchemeError):
    """A document's header cannot be read."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid header: {reason}")


class SegmentError(SchemeError):
    """A segment was changed, or segments are missing."""
