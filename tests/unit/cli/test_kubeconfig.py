"""Kubeconfig files as people have them: several, with programs that make credentials."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dapr_cli.kube.kubeconfig import find_login
from dapr_common.kube.api_errors import LoginError


def config(path: Path, name: str, *, current: bool = True, user: Any = None) -> Path:
    """A file with one cluster, one user and one context of the same name."""
    body = {
        "current-context": name if current else "",
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.example"}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
    return path


def environment(*paths: Path) -> dict[str, str]:
    return {"KUBECONFIG": ":".join(map(str, paths))}


def program(*, prints: str, code: int = 0) -> dict[str, Any]:
    script = f"import sys; print({prints!r}); sys.exit({code})"
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable} | {
        "args": ["-c", script]
    }


def credential(**status: str) -> str:
    return json.dumps({"kind": "ExecCredential", "status": status})


def test_the_first_file_that_says_it_counts(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "token").write_text("from-a-file\n")
    first = config(tmp_path / "sub" / "a", "one", current=False, user={"tokenFile": "token"})
    second = config(tmp_path / "b", "two")
    third = config(tmp_path / "c", "one", user={"token": "never"})
    login = find_login(environment(first, second, third))
    assert login.server == "http://two.example"
    second.unlink()
    login = find_login(environment(first, second, third))
    assert (login.server, login.token()) == ("http://one.example", "from-a-file")


def test_a_program_makes_the_token(tmp_path: Path) -> None:
    path = config(tmp_path / "a", "one", user={"exec": program(prints=credential(token="t0k3n"))})
    assert find_login(environment(path)).token() == "t0k3n"


def test_a_program_beside_the_file(tmp_path: Path) -> None:
    script = tmp_path / "login.sh"
    script.write_text('#!/bin/sh\necho \'{"status": {"token": "\'$WHO-$1\'"}}\'\n')
    script.chmod(0o755)
    wanted = {"command": "./login.sh", "args": ["x"], "env": [{"name": "WHO", "value": "me"}]}
    path = config(tmp_path / "a", "one", user={"exec": wanted})
    assert find_login(environment(path)).token() == "me-x"


def test_another_users_program_is_not_started(tmp_path: Path) -> None:
    first = config(tmp_path / "a", "one")
    second = config(tmp_path / "b", "two", user={"exec": {"command": str(tmp_path / "none")}})
    assert find_login(environment(first, second)).server == "http://one.example"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"command": "no-such-program", "installHint": "get it"}, "no-such-program cannot be"),
        (program(prints="", code=3), "made no credentials: .*exit status 3"),
        (program(prints="hello"), "is no ExecCredential"),
        (program(prints=credential(other="x")), "holds neither a token nor a certificate"),
    ],
)
def test_programs_that_fail(wanted: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = config(tmp_path / "a", "one", user={"exec": wanted})
    with pytest.raises(LoginError, match=message):
        find_login(environment(path))


def test_what_is_wrong_names_the_users_file(tmp_path: Path) -> None:
    user = {"exec": program(prints=credential(clientCertificateData="x"))}
    path = config(tmp_path / "a", "one", user=user)
    path.write_text(path.read_text().replace("http://", "https://"))
    with pytest.raises(LoginError, match=f"kubeconfig {path}: client-certificate and client-key"):
        find_login(environment(path))
    path.write_text("{")
    with pytest.raises(LoginError, match=f"kubeconfig {path} cannot be read"):
        find_login(environment(path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(LoginError, match=r"there is no kubeconfig: .*/a does not exist"):
        find_login(environment(tmp_path / "a"))
    with pytest.raises(LoginError, match="service account"):
        find_login({**environment(tmp_path / "a"), "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
