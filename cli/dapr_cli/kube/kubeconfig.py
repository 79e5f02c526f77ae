"""The way into the user's cluster: ``KUBECONFIG`` and ``~/.kube/config`` as ``kubectl`` reads them.

Beyond what programs in a cluster need, people have several files, and programs that make their
credentials: both are resolved here into one plain file that exists only while it is read.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dapr_common.kube.api_errors import LoginError
from dapr_common.kube.login import Login, kubeconfig_login, service_account_login
from dapr_common.kube.yaml_text import load_yaml

_EXEC_SECONDS = 60
_LISTS = ("clusters", "contexts", "users")
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_CREDENTIALS = {
    "token": "token",
    "clientCertificateData": "client-certificate-data",
    "clientKeyData": "client-key-data",
}

Entry = dict[str, Any]


def find_login(environment: Mapping[str, str] | None = None) -> Login:
    """The current context of the user's kubeconfig, else the pod's own account.

    Raises ``LoginError``.
    """
    environment = os.environ if environment is None else environment
    paths = _paths(environment)
    there = [path for path in paths if path.exists()]
    if not there:
        if environment.get("KUBERNETES_SERVICE_HOST"):
            return service_account_login(environment)
        raise LoginError(f"there is no kubeconfig: {_shown(paths)} does not exist")
    if len(there) == 1 and not _has_program(_read(there[0])):
        return kubeconfig_login(there[0])
    document = _merged(there)
    if user := _current_user(document):
        _run_program(user)
    return _login(document, _shown(there))


def is_there() -> bool:
    """Whether there is any kubeconfig."""
    return any(path.exists() for path in _paths(os.environ))


def _paths(environment: Mapping[str, str]) -> list[Path]:
    named = [Path(name) for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    return named or [Path.home() / ".kube" / "config"]


def _login(document: Entry, shown: str) -> Login:
    with tempfile.TemporaryDirectory(prefix="dapr-kubeconfig-") as folder:  # mode 0700
        path = Path(folder) / "config"
        path.write_text(json.dumps(document), encoding="utf-8")
        try:
            return kubeconfig_login(path)
        except LoginError as error:
            raise LoginError(str(error).replace(str(path), shown)) from error


def _read(path: Path) -> Entry:
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LoginError(f"kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise LoginError(f"kubeconfig {path} is not a mapping")
    return document


def _merged(paths: list[Path]) -> Entry:
    """All files as one: of each name, the entry of the first file that has it."""
    context, lists = "", {name: dict[str, Entry]() for name in _LISTS}
    for path in paths:
        document = _read(path)
        context = context or str(document.get("current-context") or "")
        for name, known in lists.items():
            for entry in _entries(document, name):
                known.setdefault(str(entry.get("name")), _absolute(entry, path.parent))
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        **{name: list(known.values()) for name, known in lists.items()},
    }


def _entries(document: Entry, name: str) -> list[Entry]:
    return [entry for entry in document.get(name) or () if isinstance(entry, dict)]


def _absolute(entry: Entry, folder: Path) -> Entry:
    """The entry with names of files that hold wherever it is written to."""
    found: Entry = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            found[key] = _absolute(value, folder)
        elif (key in _FILES and value) or (key == "command" and os.sep in str(value)):
            found[key] = str(folder.absolute() / str(value))
        else:
            found[key] = value
    return found


def _has_program(document: Entry) -> bool:
    user = _current_user(document)
    return bool(user and user.get("exec"))


def _current_user(document: Entry) -> Entry | None:
    context = _named(document, "context", str(document.get("current-context") or ""))
    return _named(document, "user", str((context or {}).get("user") or ""))


def _named(document: Entry, kind: str, name: str) -> Entry | None:
    for entry in _entries(document, f"{kind}s"):
        if entry.get("name") == name and isinstance(entry.get(kind), dict):
            found: Entry = entry[kind]
            return found
    return None


# --- programs that make credentials -------------------------------------------------------------


def _run_program(user: Entry) -> None:
    """Replace ``exec`` by what its program says. Raises ``LoginError``."""
    wanted = user.pop("exec", None)
    if not wanted:
        return
    command = [str(wanted.get("command") or ""), *map(str, wanted.get("args") or ())]
    status = _status(_said(command, wanted), command[0])
    for theirs, ours in _CREDENTIALS.items():
        if not (text := status.get(theirs)):
            continue
        user[ours] = _base64(str(text)) if ours.endswith("-data") else str(text)


def _said(command: list[str], wanted: Entry) -> str:
    version = str(wanted.get("apiVersion") or "client.authentication.k8s.io/v1")
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": True}}
    given = {str(e.get("name")): str(e.get("value") or "") for e in wanted.get("env") or ()}
    try:
        done = subprocess.run(  # noqa: S603 - what the user's own kubeconfig names
            command,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_EXEC_SECONDS,
            check=True,
            env={**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info), **given},
        )
    except OSError as error:
        hint = str(wanted.get("installHint") or "").strip()
        raise LoginError(
            f"the kubeconfig's program {command[0]} cannot be started: {error.strerror}"
            + (f"\n{hint}" if hint else "")
        ) from error
    except subprocess.SubprocessError as error:
        raise LoginError(f"the kubeconfig's program made no credentials: {error}") from error
    return done.stdout


def _status(text: str, program: str) -> Entry:
    try:
        status = json.loads(text)["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise LoginError(f"what {program} printed is no ExecCredential with a status") from error
    if not isinstance(status, dict) or not any(map(status.get, _CREDENTIALS)):
        raise LoginError(f"what {program} printed holds neither a token nor a certificate")
    return status


def _base64(pem: str) -> str:
    import base64

    return base64.b64encode(pem.encode()).decode()


def _shown(paths: list[Path]) -> str:
    return os.pathsep.join(map(str, paths))
