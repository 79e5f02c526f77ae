"""Regular expressions of manifests: Go's syntax, and its promise of linear time."""

from __future__ import annotations

from typing import Any

from dapr_common.http.messages import Request
from dapr_sidecar.components.middleware.answers import decoded_path


def compile_pattern(name: str, text: str) -> Any:
    """The RE2 expression of a metadata field. Raises ``ValueError`` with the field's name.

    Go's expressions are RE2's. Python's own would read some of them otherwise, and a path made
    for it could keep them busy for ever.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(
            f"invalid metadata field '{name}': '{text}': expected a regular expression in Go's "
            f"syntax: {shown}"
        ) from error


def matches(pattern: Any, path: str) -> bool:
    """Whether a pattern is found in a path; bytes that are no UTF-8 stay what they are."""
    return pattern.search(path.encode("utf-8", "surrogateescape")) is not None


class PathFilter:
    """Which requests a middleware is for: those whose path matches, or all."""

    def __init__(self, text: str) -> None:
        self._pattern = compile_pattern("pathFilter", text) if text else None

    def takes(self, request: Request) -> bool:
        """Whether the middleware is for this request."""
        if self._pattern is None:
            return True
        try:
            return matches(self._pattern, decoded_path(request))
        except ValueError:
            return True  # no path at all; it must not be a way around
