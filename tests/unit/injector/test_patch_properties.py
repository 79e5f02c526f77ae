"""Whatever the pod: the patch adds and never takes away, once, with names that can be."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_injector.admission import Outcome
from dapr_injector.annotations import TABLE

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
OVERWRITTEN = {"dapr.io/sidecar-injected", "dapr.io/app-id", "dapr.io/metrics-enabled"}
OURS = [
    "dapr-identity-token",
    "dapr-unix-domain-socket",
    "dapr-components-unix-domain-socket",
]

names = st.sampled_from(["app", "store", "a", "b-1", "data", "x" * 63, *OURS])
texts = st.text(max_size=12) | st.sampled_from(["true", "8080", "a:/b,data:/d", "A=1,B=2", "store"])
paths = st.sampled_from(["/a", "/b", "/tmp/dapr-components-sockets", "/var/run/dapr-sockets"])
variables = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["DAPR_HTTP_PORT", "APP_PROTOCOL", "A"])},
        optional={"value": texts},
    ),
    max_size=3,
    unique_by=lambda one: str(one["name"]),
)
mounts = st.lists(
    st.fixed_dictionaries({"name": names, "mountPath": paths}),
    max_size=3,
    unique_by=lambda one: str(one["mountPath"]),
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": names, "image": st.just("i")},
        optional={
            "env": variables | st.none(),
            "volumeMounts": mounts | st.none(),
            "command": st.lists(texts, max_size=2),
        },
    ),
    max_size=4,
    unique_by=lambda one: str(one["name"]),
)
volumes = st.lists(
    st.fixed_dictionaries({"name": names, "emptyDir": st.just({"sizeLimit": "1"})}),
    max_size=3,
    unique_by=lambda one: str(one["name"]),
)
wishes = st.fixed_dictionaries(
    {},
    optional={
        "dapr.io/pluggable-components": st.sampled_from(["store", "app,a", "nobody"]),
        "dapr.io/inject-pluggable-components": st.just("true"),
        "dapr.io/pluggable-components-sockets-folder": paths,
        "dapr.io/unix-domain-socket-path": paths,
        "dapr.io/volume-mounts": st.just("data:/d,a:/a"),
        "dapr.io/enable-native-sidecar": st.sampled_from(["true", "false"]),
    },
)
annotations = st.dictionaries(
    st.sampled_from([f"dapr.io/{name}" for name in TABLE if name not in ("enabled", "app-id")])
    | st.sampled_from(["dapr.io/odd", "example.com/x"]),
    texts,
    max_size=4,
)
components = st.lists(
    st.fixed_dictionaries(
        {
            "metadata": st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["store", "my.store", "c" * 80, "x-1"]),
                    "annotations": st.fixed_dictionaries(
                        {
                            "dapr.io/component-container": st.fixed_dictionaries(
                                {"image": st.sampled_from(["i1", "i2", "i3"])},
                                optional={"name": names, "volumeMounts": mounts, "env": variables},
                            ).map(json.dumps)
                        }
                    ),
                }
            )
        },
        optional={"scopes": st.sampled_from([[], ["orders"], ["other"]])},
    ),
    max_size=3,
)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    everything = draw(containers)
    cut = draw(st.integers(0, len(everything)))
    metadata: dict[str, Any] = {
        "name": "orders-1",
        "annotations": {
            **draw(annotations),
            **draw(wishes),
            "dapr.io/enabled": "true",
            "dapr.io/app-id": "orders",
        },
    }
    if draw(st.booleans()):
        keys = st.sampled_from(["app", *OVERWRITTEN])
        metadata["labels"] = draw(st.dictionaries(keys, st.just("old"), max_size=3))
    spec: dict[str, Any] = {"containers": everything[cut:], "restartPolicy": "Never"}
    if cut or draw(st.booleans()):
        spec["initContainers"] = everything[:cut]
    if draw(st.booleans()):
        spec["volumes"] = draw(volumes)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def assert_kept(before: Any, after: Any, path: str = "") -> None:
    """Everything of ``before`` is in ``after``, at the same place, in the same order."""
    if isinstance(before, dict):
        for key, value in before.items():
            if path == "/metadata/labels" and key in OVERWRITTEN:
                continue
            if value is None or value == []:
                continue
            assert key in after, f"{path}/{key}"
            assert_kept(value, after[key], f"{path}/{key}")
    elif isinstance(before, list) and path.rpartition("/")[2] != "command":
        assert len(after) >= len(before), path
        for index, value in enumerate(before):
            assert_kept(value, after[index], f"{path}/{index}")
    else:
        assert after == before, path


@settings(max_examples=40, deadline=None)
@given(pod=pods(), components=components, token=st.booleans(), native=st.booleans())
def test_a_patch_only_adds_and_only_once(
    admit: Callable[..., Any],
    make_settings: Callable[..., Any],
    pod: dict[str, Any],
    components: list[dict[str, Any]],
    token: bool,
    native: bool,
) -> None:
    choice = make_settings({"NATIVE_SIDECAR_ENABLED": str(native)})
    facts = {"components": copy.deepcopy(components), "has_identity_token": token}
    admitted = admit(pod, settings=choice, facts=facts)

    assert facts["components"] == components
    if admitted.answer.outcome is Outcome.REJECTED:
        assert "a Component declares a container named" in admitted.answer.message
        return
    assert admitted.answer.outcome is Outcome.INJECTED
    assert_kept(pod, admitted.pod)
    assert_names_can_be(admitted.pod)
    assert admit(admitted.pod, settings=choice, facts=facts).patch == []


def assert_names_can_be(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    everything = [*spec["containers"], *spec.get("initContainers", [])]
    for items in (everything, spec.get("volumes", [])):
        taken = [item["name"] for item in items]
        assert len(set(taken)) == len(taken)
        assert all(LABEL.fullmatch(name) for name in taken)
    assert [one["name"] for one in everything].count("daprd") == 1
    for container in everything:
        found = [variable["name"] for variable in container.get("env") or []]
        if container["name"] != "daprd":  # whose variables the annotations may repeat
            assert len(set(found)) == len(found)
            where = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
            assert len(set(where)) == len(where)
