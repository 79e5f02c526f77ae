"""What ``docker login`` has written down: who the user is at a registry."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dapr_cli.bundle.image_names import DOCKER_HUB
from dapr_cli.errors import CliError

_PROGRAM = "docker-credential-"
_PROGRAM_SECONDS = 60.0
_TOKEN_USER = "<token>"  # noqa: S105 - what programs say instead of a user's name


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or a token to get others by."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        text = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(text).decode()}"


def find(host: str, environment: Mapping[str, str] | None = None) -> Credentials | None:
    """Those for a registry; ``None`` when there are none. Raises ``CliError``."""
    host, file = _host(host), config_file(os.environ if environment is None else environment)
    if not file.exists():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        helpers, entries = document.get("credHelpers") or {}, document.get("auths") or {}
        store = str(document.get("credsStore") or "")
        if helper := next((str(helpers[key]) for key in helpers if _host(key) == host), ""):
            return _by_program(helper, host)
        for key, entry in entries.items():
            if _host(key) == host and (found := _plain(entry)) is not None:
                return found
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CliError(f"{file} cannot be read: {type(error).__name__}: {error}") from error
    return _by_program(store, host) if store else None


def config_file(environment: Mapping[str, str]) -> Path:
    """Where ``docker login`` writes."""
    folder = environment.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _host(key: str) -> str:
    """Keys may be addresses, such as ``https://host/v1/``."""
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB[0] if host in DOCKER_HUB else host


def _plain(entry: Mapping[str, Any]) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError("an 'auth' is not base64 of USER:PASSWORD") from None
        username, _, password = text.rstrip("\0").partition(":")
    token = str(entry.get("identitytoken") or "")
    return Credentials(username, password, token) if username or token else None


def _by_program(name: str, host: str) -> Credentials | None:
    """A store of the system's, asked by the program that docker asks, too."""
    key = "https://index.docker.io/v1/" if host == "docker.io" else host
    try:
        done = subprocess.run(  # noqa: S603 - what the user's own configuration names
            [f"{_PROGRAM}{name}", "get"],
            input=key,
            capture_output=True,
            text=True,
            timeout=_PROGRAM_SECONDS,
        )
    except OSError as error:
        raise CliError(
            f"{_PROGRAM}{name}, which keeps the login to {host}, cannot be started: "
            f"{error.strerror}",
            "Put it on PATH, or name another folder with a config.json: DOCKER_CONFIG.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CliError(
            f"{_PROGRAM}{name} has not answered within {_PROGRAM_SECONDS:g} s"
        ) from error
    if done.returncode:  # it says so of a registry that it does not know, too
        return None
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(f"what {_PROGRAM}{name} printed is no login") from error
    if username == _TOKEN_USER:
        return Credentials("", identity_token=secret)
    return Credentials(username, secret)
