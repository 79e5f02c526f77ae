"""Ways into a cluster: what is read, what is refused, and in which words."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import trustme

from dapr_common.kube.api_errors import LoginError
from dapr_common.kube.login import TokenFile, find_login, kubeconfig_login, service_account_login

CA = trustme.CA()
IN_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def write_kubeconfig(
    folder: Path, *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> Path:
    ca = base64.b64encode(CA.cert_pem.bytes()).decode()
    path = folder / "config"
    path.write_text(
        json.dumps(
            {
                "current-context": "here",
                "contexts": [
                    {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "mine"}},
                    {"name": "there", "context": {"cluster": "other", "user": "u"}},
                ],
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {
                            "server": "https://c:6443/",
                            "certificate-authority-data": ca,
                            **(cluster or {}),
                        },
                    },
                    {"name": "other", "cluster": {"server": "http://other:8001"}},
                ],
                "users": [{"name": "u", "user": user or {}}],
            }
        )
    )
    return path


def account(folder: Path) -> Path:
    (folder / "token").write_text("first\n")
    (folder / "namespace").write_text("apps\n")
    (folder / "ca.crt").write_bytes(CA.cert_pem.bytes())
    return folder


def test_current_context_is_taken(tmp_path: Path) -> None:
    login = kubeconfig_login(write_kubeconfig(tmp_path, user={"token": "secret"}))
    assert (login.server, login.namespace) == ("https://c:6443", "mine")
    assert login.tls is not None
    assert login.token() == "secret"
    assert "secret" not in repr(login)


def test_another_context_by_name(tmp_path: Path) -> None:
    login = kubeconfig_login(write_kubeconfig(tmp_path), "there")
    assert (login.server, login.namespace, login.tls) == ("http://other:8001", "default", None)
    assert login.token() == ""


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    issued = CA.issue_cert("me")
    (tmp_path / "me.crt").write_bytes(issued.cert_chain_pems[0].bytes())
    (tmp_path / "me.key").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "token").write_text("from a file")
    user = {"client-certificate": "me.crt", "client-key": "me.key", "tokenFile": "token"}
    assert kubeconfig_login(write_kubeconfig(tmp_path, user=user)).token() == "from a file"


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"exec": {"command": "aws"}}, "user 'u' has 'exec': programs that make credentials"),
        ({"auth-provider": {"name": "gcp"}}, "user 'u' has 'auth-provider'"),
        ({"username": "me", "password": "x"}, "user 'u' has 'username'"),
        ({"as": "admin"}, "user 'u' has 'as': impersonation is not supported"),
        ({"client-certificate-data": "eA=="}, "client-key go together"),
        ({"client-certificate": "no.crt", "client-key": "no.key"}, "client-certificate: "),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, "cannot be used"),
        ({"client-certificate-data": "%", "client-key-data": "%"}, "client-certificate: "),
    ],
)
def test_users_that_cannot_log_in(tmp_path: Path, user: dict[str, Any], says: str) -> None:
    path = write_kubeconfig(tmp_path, user=user)
    with pytest.raises(LoginError) as caught:
        kubeconfig_login(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_proxy_is_refused(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, cluster={"proxy-url": "http://p"})
    with pytest.raises(LoginError, match="cluster 'c' has 'proxy-url'"):
        kubeconfig_login(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoginError, match="there is no context 'nowhere'"):
        kubeconfig_login(write_kubeconfig(tmp_path), "nowhere")
    with pytest.raises(LoginError, match="cannot be read"):
        kubeconfig_login(tmp_path / "missing")
    (tmp_path / "list").write_text("- 1")
    with pytest.raises(LoginError, match="is not a mapping"):
        kubeconfig_login(tmp_path / "list")
    (tmp_path / "empty").write_text("{}")
    with pytest.raises(LoginError, match="no current-context"):
        kubeconfig_login(tmp_path / "empty")


def test_a_pod_uses_its_account(tmp_path: Path) -> None:
    login = service_account_login(IN_POD, account(tmp_path))
    assert (login.server, login.namespace) == ("https://10.0.0.1:6443", "apps")
    assert login.token() == "first"


def test_ipv6_api_server(tmp_path: Path) -> None:
    login = service_account_login(
        {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, account(tmp_path)
    )
    assert login.server == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "namespace", "ca.crt"])
def test_an_account_that_is_not_whole(tmp_path: Path, missing: str) -> None:
    (account(tmp_path) / missing).unlink()
    with pytest.raises(LoginError, match="service account"):
        service_account_login(IN_POD, tmp_path)


def test_a_renewed_token_is_used(tmp_path: Path) -> None:
    """As the kubelet renews it: another file under the same name."""
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(path)
    assert token() == "first"
    (tmp_path / "new").write_text("other")
    (tmp_path / "new").rename(path)
    assert token() == "other"
    os.truncate(path, 0)
    with pytest.raises(LoginError, match="is empty"):
        token()


def test_outside_a_pod_the_file_is_used(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, user={"token": "x"})
    assert find_login(str(path), {}).server == "https://c:6443"
    assert find_login("", {"KUBE_CONFIG": str(path)}).server == "https://c:6443"
    assert find_login(str(path), {"KUBE_CONFIG": "/nowhere"}).server == "https://c:6443"
    with pytest.raises(LoginError, match="service account"):
        find_login(str(path), IN_POD)
