"""What a pod's creator is told about annotations, and what is taken of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dapr_injector.annotation_kinds import is_quantity
from dapr_injector.annotation_reading import read, warn_of_strangers
from dapr_injector.annotations import TABLE, Annotations

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "annotations.json"


def warnings_about(**values: str) -> list[str]:
    warnings: list[str] = []
    found = {f"dapr.io/{name.replace('_', '-')}": text for name, text in values.items()}
    read(found, warnings.append)
    warn_of_strangers(found, warnings.append)
    return warnings


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (
            {"app_port": "80a"},
            'dapr.io/app-port is "80a", ignored: expected a port, 1 to 65535',
        ),
        (
            {"app_port": "70000"},
            'dapr.io/app-port is "70000", passed on as it is: expected a port, 1 to 65535',
        ),
        (
            {"app_max_concurrency": "1_0"},
            'dapr.io/app-max-concurrency is "1_0", ignored: expected a whole number',
        ),
        (
            {"app_max_concurrency": "2147483648"},
            'dapr.io/app-max-concurrency is "2147483648", ignored: expected a whole number',
        ),
        (
            {"enable_metrics": "ture"},
            'dapr.io/enable-metrics is "ture", read as false: expected true or false',
        ),
        (
            {"sidecar_cpu_limit": "much"},
            (
                'dapr.io/sidecar-cpu-limit is "much", the sidecar gets no resources at all: '
                "expected a quantity such as 100m or 250Mi"
            ),
        ),
        (
            {"max_body_size": "4 MB"},
            'dapr.io/max-body-size is "4 MB", passed on as it is: expected a quantity such as 4Mi',
        ),
        (
            {"block_shutdown_duration": "5"},
            (
                'dapr.io/block-shutdown-duration is "5", passed on as it is: '
                "expected a duration such as 5s or 1m30s"
            ),
        ),
        (
            {"app_protocol": "rest"},
            (
                'dapr.io/app-protocol is "rest", passed on as it is: expected one of http, https, '
                "grpc, grpcs, h2c"
            ),
        ),
        (
            {"app_protocol": " http"},
            (
                'dapr.io/app-protocol is " http", passed on as it is: expected one of http, https, '
                "grpc, grpcs, h2c"
            ),
        ),
        (
            {"actors_disseminate_timeout": "0s"},
            (
                'dapr.io/actors-disseminate-timeout is "0s", passed on as it is: '
                "expected a duration above 0 such as 30s"
            ),
        ),
        (
            {"disable_init_endpoints": "config,all"},
            (
                'dapr.io/disable-init-endpoints is "config,all", passed on as it is: '
                "expected some of config, subscribe"
            ),
        ),
        (
            {"log_level": "a\nb" + "c" * 100},
            (
                'dapr.io/log-level is "a\\nb'
                + "c" * 57
                + '...", passed on as it is: expected one of '
                "debug, info, warn, warning, error, fatal"
            ),
        ),
        (
            {"app_ssl": "true"},
            "dapr.io/app-ssl is deprecated, use dapr.io/app-protocol: https or grpcs",
        ),
        (
            {"appport": "80"},
            "unknown annotation dapr.io/appport, did you mean dapr.io/app-port?",
        ),
        (
            {"APP_PORT": "80"},
            "unknown annotation dapr.io/APP-PORT, did you mean dapr.io/app-port?",
        ),
        ({"zzz": "80"}, "unknown annotation dapr.io/zzz"),
        (
            {"component_container": "{}"},
            "dapr.io/component-container has no effect on a pod: it belongs to a Component",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_doubtful_annotation_is_named_with_its_value_and_what_was_expected(
    values: dict[str, str], warning: str
) -> None:
    assert warnings_about(**values) == [warning]


def test_usual_annotations_are_taken_in_silence() -> None:
    assert (
        warnings_about(
            enabled="TRUE",
            app_id="orders",
            app_port="0",
            app_protocol="GRPC",
            enable_metrics="off",
            sidecar_cpu_limit="",
            max_body_size="",
            graceful_shutdown_seconds="+5",
            log_level="warn",
            actors_disseminate_timeout="1m30s",
            disable_init_endpoints="subscribe,config",
        )
        == []
    )


def test_annotations_of_others_are_nobodys_business() -> None:
    warnings: list[str] = []
    warn_of_strangers({"example.com/app-prot": "1", "dapr.iox/app-prot": "1"}, warnings.append)
    assert warnings == []


def test_a_flood_of_unknown_annotations_is_cut() -> None:
    warnings: list[str] = []
    warn_of_strangers({f"dapr.io/{'x' * 500}{n}": "" for n in range(5000)}, warnings.append)

    assert len(warnings) == 11
    assert warnings[-1] == "4990 more dapr.io/ annotations are unknown"
    assert max(map(len, warnings)) < 100


def test_what_cannot_be_read_keeps_its_default() -> None:
    found = read({"dapr.io/metrics-port": "", "dapr.io/log-level": ""}, lambda text: None)

    assert found.metrics_port == Annotations().metrics_port == 9090
    assert found.log_level == ""


@pytest.mark.parametrize(
    "text", ["1", "0.5", ".5", "5.", "100m", "1Ki", "1Ei", "2k", "1e3", "1E-3", "1E", "-1", "5n"]
)
def test_kubernetes_takes_these_quantities(text: str) -> None:
    assert is_quantity(text)


@pytest.mark.parametrize(
    "text", ["", "m", "1 Ki", "1K", "1mi", "0x1", "1e", "\u0661", "1\n", "lots"]
)
def test_kubernetes_does_not_take_these(text: str) -> None:
    assert not is_quantity(text)


def as_text(default: object) -> str | None:
    if default is None or isinstance(default, str):
        return default
    return json.dumps(default)


@pytest.mark.skipif(not REFERENCE.exists(), reason="annotations.json is not here")
def test_the_table_is_that_of_the_reference() -> None:
    reference = {
        entry["name"].removeprefix("dapr.io/"): entry
        for entry in json.loads(REFERENCE.read_bytes())["annotations"]
    }
    assert set(TABLE) == set(reference) - {"component-container"}
    settings = {"sidecar-image", "enable-native-sidecar", "placement-host-address"}
    for name, (_, declared) in TABLE.items():
        entry = reference[name]
        assert entry["type"].startswith(declared.kind.name), name
        assert bool(entry["sets"].get("deprecated")) == bool(declared.replaced_by), name
        if name not in settings:  # of the injector, behind these
            assert as_text(declared.default) == entry["default"], name
