"""Errors as the API tells them: ``{"error": "…"}``."""

from __future__ import annotations

from aiohttp import web

_ROOT = "/api/"


def is_api(path: str) -> bool:
    """Whether who asks for a path expects JSON."""
    return path.startswith(_ROOT) or path == _ROOT.rstrip("/")


def failed(text: str, status: int) -> web.Response:
    """What went wrong."""
    return web.json_response({"error": text}, status=status)
