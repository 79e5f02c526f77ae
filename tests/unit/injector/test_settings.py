"""Flags and environment: what they mean, and in which words they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dapr_common.flags import parse
from dapr_common.program import SettingsError
from dapr_common.security.spiffe import SpiffeId
from dapr_injector.callers import BUILT_IN, AccountPattern
from dapr_injector.settings import FLAGS, NamedService, SecuritySettings, find_cluster_domain, read


def test_what_is_not_said_has_daprs_defaults(make_settings: Callable[..., Any]) -> None:
    settings = make_settings()

    assert settings.port == 4000
    assert settings.service.healthz_port == 8080
    assert settings.identity == SpiffeId("cluster.local", "dapr-system", "dapr-injector")
    assert settings.sentry_id == SpiffeId("cluster.local", "dapr-system", "dapr-sentry")
    assert settings.allowed_accounts == BUILT_IN
    assert settings.image_pull_policy == "Always"
    assert settings.security == SecuritySettings()
    assert settings.actors_service == NamedService("placement", "dapr-placement-server", 50005)
    assert settings.reminders_service is None
    assert settings.component_sockets_folder == "/tmp/dapr-components-sockets"
    assert settings.trust_anchors_file == Path("/var/run/dapr.io/tls/ca.crt")
    assert settings.ignore_entrypoint_tolerations == ()
    assert settings.notices == ()
    assert not settings.native_sidecar
    assert not settings.host_ip


def test_both_lists_of_accounts_count(make_settings: Callable[..., Any]) -> None:
    settings = make_settings(
        {"ALLOWED_SERVICE_ACCOUNTS": "a:b", "ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES": "c:d*"}
    )
    assert settings.allowed_accounts[len(BUILT_IN) :] == (
        AccountPattern("a", "b"),
        AccountPattern("c", "d*"),
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NAMESPACE": ""}, "NAMESPACE is not set: it names the control plane's namespace"),
        ({"SIDECAR_IMAGE": ""}, "SIDECAR_IMAGE is not set: it names the image of daprd"),
        ({"NAMESPACE": "a b"}, "NAMESPACE and DAPR_CONTROL_PLANE_TRUST_DOMAIN make no identity"),
        (
            {"ALLOWED_SERVICE_ACCOUNTS": "a:b,runner"},
            'invalid value for ALLOWED_SERVICE_ACCOUNTS: "runner": expected namespace:name',
        ),
        (
            {"ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES": "a:b:c"},
            'invalid value for ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES: "a:b:c": expected',
        ),
        (
            {"ACTORS_SERVICE_NAME": "placement"},
            'invalid value for ACTORS_SERVICE_ADDRESS: "": expected service:port',
        ),
        (
            {"ACTORS_SERVICE_NAME": "mine", "ACTORS_SERVICE_ADDRESS": "svc"},
            'invalid value for ACTORS_SERVICE_ADDRESS: "svc": expected service:port',
        ),
        (
            {"ACTORS_SERVICE_ADDRESS": "svc:65536"},
            'invalid value for ACTORS_SERVICE_ADDRESS: "svc:65536": expected service:port',
        ),
        (
            {"REMINDERS_SERVICE_NAME": "mine", "REMINDERS_SERVICE_ADDRESS": "a:b:7"},
            'invalid value for REMINDERS_SERVICE_ADDRESS: "a:b:7": expected service:port',
        ),
        (
            {"SIDECAR_RUN_AS_USER": "root"},
            'invalid value for SIDECAR_RUN_AS_USER: "root": expected a whole number',
        ),
        (
            {"SIDECAR_RUN_AS_GROUP": "-1"},
            'invalid value for SIDECAR_RUN_AS_GROUP: "-1": expected a whole number',
        ),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_cannot_be_used_ends_the_start_with_its_name(
    environment: dict[str, str], message: str, make_settings: Callable[..., Any]
) -> None:
    with pytest.raises(SettingsError) as raised:
        make_settings(environment)
    assert str(raised.value).startswith(message)
    assert raised.value.status == 1


def test_actors_that_are_off_need_no_address(make_settings: Callable[..., Any]) -> None:
    settings = make_settings({"ACTORS_ENABLED": "no", "ACTORS_SERVICE_NAME": "placement"})
    assert settings.actors_service is None


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ('[{\\"key\\":\\"aws\\"}]', "IGNORE_ENTRYPOINT_TOLERATIONS is ignored, it is not JSON"),
        ('{"key": "aws"}', "IGNORE_ENTRYPOINT_TOLERATIONS is ignored: expected a JSON array"),
        ('["aws"]', "IGNORE_ENTRYPOINT_TOLERATIONS is ignored: expected a JSON array"),
    ],
)
def test_bad_tolerations_are_a_warning(
    text: str, notice: str, make_settings: Callable[..., Any]
) -> None:
    settings = make_settings({"IGNORE_ENTRYPOINT_TOLERATIONS": text})

    assert settings.ignore_entrypoint_tolerations == ()
    (given,) = settings.notices
    assert given.startswith(notice)


def test_an_unknown_pull_policy_is_a_warning(make_settings: Callable[..., Any]) -> None:
    settings = make_settings({"SIDECAR_IMAGE_PULL_POLICY": "never"})

    assert settings.image_pull_policy == "IfNotPresent"
    assert settings.notices == (
        (
            'SIDECAR_IMAGE_PULL_POLICY is "never", IfNotPresent is used: '
            "expected one of Always, IfNotPresent, Never"
        ),
    )


@pytest.mark.parametrize(
    ("lines", "domain"),
    [
        ("search shop.svc.corp.local svc.corp.local corp.local\n", "corp.local"),
        ("nameserver 10.0.0.10\nsearch\tsvc.corp.local.\n", "corp.local"),
        ("search home.example\n", "cluster.local"),
        ("searching svc.corp.local\n", "cluster.local"),
        ("search svc. \n\n", "cluster.local"),
        ("", "cluster.local"),
    ],
)
def test_the_clusters_domain_is_in_the_search_list(lines: str, domain: str, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(lines)
    environment = {"NAMESPACE": "n", "SIDECAR_IMAGE": "i"}

    assert read(parse(FLAGS, []), environment, path).cluster_domain == domain
    said = environment | {"KUBE_CLUSTER_DOMAIN": "said.local"}
    assert read(parse(FLAGS, []), said, path).cluster_domain == "said.local"


def test_a_search_list_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert find_cluster_domain(tmp_path) == "cluster.local"


def test_flags_are_those_of_the_program(make_settings: Callable[..., Any]) -> None:
    settings = make_settings(
        {}, "--port=4443", "--listen-address", "::1", "--scheduler-enabled=false", "--kubeconfig=k"
    )
    assert (settings.port, settings.listen_address) == (4443, "::1")
    assert (settings.scheduler_enabled, settings.kubeconfig) == (False, "k")
