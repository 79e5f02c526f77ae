from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.kube.manifests import (
    KINDS,
    Document,
    ManifestError,
    Resource,
    parse_documents,
    split_documents,
    typed,
)
from dapr_common.kube.resources import (
    BulkSubscribe,
    Component,
    Configuration,
    HttpEndpoint,
    NameValue,
    Resiliency,
    Rule,
    SecretKeyRef,
    Subscription,
)

HEAD = "apiVersion: dapr.io/v1alpha1\nkind: "


def read(text: str) -> Resource:
    [document] = parse_documents(text, "a.yaml")
    assert isinstance(document, Document)
    found = typed(document)
    assert found is not None
    return found


def refused(text: str) -> str:
    with pytest.raises(ManifestError) as wrong:
        read(text)
    return str(wrong.value)


# --- kinds --------------------------------------------------------------------------------------


def test_a_component() -> None:
    found = read(
        HEAD
        + """Component
metadata: {name: st, namespace: ns}
spec:
  type: state.redis
  version: v1
  initTimeout: 1m
  ignoreErrors: true
  metadata:
  - {name: redisHost, value: "localhost:6379"}
  - {name: maxRetries, value: 3}
  - {name: enableTLS, value: false}
  - {name: ratio, value: 1.5}
  - {name: nothing, value: null}
  - {name: redisPassword, secretKeyRef: {name: redis, key: password}}
  - {name: host, envRef: HOST}
scopes: [a1, a2]
auth: {secretStore: vault}
"""
    )
    assert found == Component(
        name="st",
        type="state.redis",
        version="v1",
        metadata=(
            NameValue("redisHost", "localhost:6379"),
            NameValue("maxRetries", "3"),
            NameValue("enableTLS", "false"),
            NameValue("ratio", "1.5"),
            NameValue("nothing"),
            NameValue("redisPassword", None, SecretKeyRef("redis", "password")),
            NameValue("host", None, None, "HOST"),
        ),
        namespace="ns",
        scopes=("a1", "a2"),
        secret_store="vault",
        init_timeout=timedelta(minutes=1),
        ignore_errors=True,
        source="a.yaml",
    )
    assert found.log_name == "st (state.redis/v1)"
    assert found.category == "state"


@pytest.mark.parametrize("timeout", ["soon", "0s", "-1s", "9999999999h", "5", "[]", "''"])
def test_a_timeout_that_cannot_be_used_is_the_default(timeout: str) -> None:
    text = f"Component\nmetadata: {{name: st}}\nspec: {{type: state.x, initTimeout: {timeout}}}"
    found = read(HEAD + text)
    assert isinstance(found, Component)
    assert found.init_timeout == timedelta(seconds=5)


def test_subscriptions_of_both_versions() -> None:
    first = read(
        HEAD
        + """Subscription
metadata: {name: s}
spec: {pubsubname: ps, topic: t, route: /in, metadata: {k: 1}, deadLetterTopic: d,
  bulkSubscribe: {enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 20}}
scopes: [a1]
"""
    )
    assert first == Subscription(
        pubsub_name="ps",
        topic="t",
        default_route="/in",
        metadata={"k": "1"},
        dead_letter_topic="d",
        bulk=BulkSubscribe(True, 10, 20),
        name="s",
        scopes=("a1",),
    )
    second = read(
        """apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: s}
spec: {pubsubname: ps, topic: t, routes: {default: /d, rules: [{match: a, path: /a}]}}
"""
    )
    assert second == Subscription("ps", "t", (Rule("a", "/a"),), "/d", name="s")


def test_names_of_fields_ignore_case_and_those_of_values_do_not() -> None:
    found = read(
        """apiVersion: dapr.io/v2alpha1
kind: Subscription
Metadata: {Name: s}
SPEC:
  pubsubName: ps
  Topic: t
  Routes: {Default: /d, RULES: [{Match: m, PATH: /p}]}
  deadlettertopic: dead
  metadata: {rawPayload: "true", RAWPAYLOAD: "false"}
  BulkSubscribe: {Enabled: true, maxmessagescount: 5}
Scopes: [a]
"""
    )
    assert found == Subscription(
        pubsub_name="ps",
        topic="t",
        rules=(Rule("m", "/p"),),
        default_route="/d",
        metadata={"rawPayload": "true", "RAWPAYLOAD": "false"},
        dead_letter_topic="dead",
        bulk=BulkSubscribe(enabled=True, max_messages_count=5),
        name="s",
        scopes=("a",),
    )
    component = read(
        HEAD
        + """Component
metadata: {name: c}
spec:
  Type: state.x
  IgnoreErrors: true
  type: state.exact
  metadata:
  - {Name: a, VALUE: 1}
  - {name: b, secretkeyref: {Name: s, KEY: k}}
auth: {secretstore: v}
"""
    )
    assert component == Component(
        name="c",
        type="state.exact",
        version="v1",
        metadata=(
            NameValue("a", "1"),
            NameValue("b", secret_key_ref=SecretKeyRef("s", "k")),
        ),
        secret_store="v",
        ignore_errors=True,
        source="a.yaml",
    )


def test_an_http_endpoint() -> None:
    found = read(
        HEAD
        + """HTTPEndpoint
metadata: {name: e}
spec:
  baseUrl: https://api
  headers: [{name: k, value: v}]
  clientTLS: {renegotiation: Never, rootCA: {value: pem}, privateKey: {secretKeyRef: {name: k}}}
"""
    )
    assert found == HttpEndpoint(
        name="e",
        base_url="https://api",
        headers=(NameValue("k", "v"),),
        root_ca=NameValue("rootCA", "pem"),
        private_key=NameValue("privateKey", None, SecretKeyRef("k")),
        renegotiation="Never",
    )


def test_the_kinds_whose_spec_is_read_elsewhere() -> None:
    assert read(HEAD + "Resiliency\nmetadata: {name: r}\nspec: {a: 1}\nscopes: [a1]") == Resiliency(
        "r", {"a": 1}, "", ("a1",)
    )
    assert read(HEAD + "Configuration\nmetadata: {name: c}\nspec: {a: 1}") == Configuration(
        "c", {"a": 1}
    )


@pytest.mark.parametrize("head", ["kind: Component", "apiVersion: v1\nkind: Secret", "a: 1"])
def test_other_kinds_are_none_of_ours(head: str) -> None:
    [document] = parse_documents(head, "a.yaml")
    assert isinstance(document, Document)
    assert typed(document) is None


# --- what is wrong, and where -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("Component\nmetadata: {name: x}\nspec: [1]", "expected a mapping, got a list"),
        ("Component\nmetadata: {name: x}\nspec: {metadata: {a: 1}}", "metadata must be a list"),
        ("Component\nmetadata: {name: x}\nspec: {metadata: [a]}", "expected a mapping, got a text"),
        (
            "Component\nmetadata: {name: x}\nspec: {metadata: [{value: 1}]}",
            "an entry of metadata has no name",
        ),
        (
            "Component\nmetadata: {name: x}\nspec: {ignoreErrors: 'yes'}",
            "ignoreErrors must be true or false",
        ),
        ("Component\nmetadata: {name: x}\nscopes: a1", "scopes must be a list"),
        ("Component\nmetadata: {name: x}\nauth: vault", "expected a mapping, got a text"),
        (
            "Subscription\nmetadata: {name: x}\nspec: {bulkSubscribe: {maxMessagesCount: many}}",
            "invalid literal",
        ),
        (
            "Subscription\nmetadata: {name: x}\nspec: {bulkSubscribe: {maxMessagesCount: .inf}}",
            "cannot convert float infinity to integer",
        ),
        (
            "Subscription\nmetadata: {name: x}\nspec: {bulkSubscribe: {enabled: 'no'}}",
            "bulkSubscribe.enabled must be true or false",
        ),
        ("HTTPEndpoint\nmetadata: {name: x}\nspec: {headers: x}", "headers must be a list"),
    ],
)
def test_errors_name_file_document_and_resource(rest: str, reason: str) -> None:
    kind = rest.partition("\n")[0]
    message = refused(HEAD + rest)
    assert message.startswith(f"a.yaml (document 1): {kind} 'x' cannot be read: ")
    assert reason in message


@pytest.mark.parametrize("name", [".", "..", "a/b", "a%2Fb"])
def test_names_that_are_paths(name: str) -> None:
    message = refused(HEAD + f"Component\nmetadata: {{name: '{name}'}}\nspec: {{type: state.x}}")
    assert f"invalid name '{name}'" in message


def test_metadata_that_is_no_mapping() -> None:
    assert refused(HEAD + "Component\nmetadata: x").startswith("a.yaml (document 1): Component ''")


def test_documents_are_counted() -> None:
    good = HEAD + "Component\nmetadata: {name: x}\nspec: {type: state.x}\n"
    first, broken, last = parse_documents(f"---\n{good}--- # two\na: [\n---\n{good}", "a.yaml")
    assert isinstance(first, Document)
    assert isinstance(last, Document)
    assert (first.number, last.number) == (1, 3)
    assert isinstance(broken, ManifestError)
    assert str(broken).startswith("a.yaml (document 2): yaml cannot be parsed: ")
    assert "\n" not in str(broken)


def test_empty_documents_are_none() -> None:
    assert split_documents("---\n\n---\n  \n") == []
    assert list(parse_documents("# only a comment\n", "a.yaml")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("abc:/.%", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "secretKeyRef"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("spec", "metadata", "scopes", "auth")
SPEC_FIELDS = (
    *("type", "version", "metadata", "initTimeout", "ignoreErrors", "topic", "routes", "route"),
    *("bulkSubscribe", "headers", "clientTLS", "baseUrl", "pubsubname", "deadLetterTopic"),
)


@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
    st.dictionaries(st.sampled_from(SPEC_FIELDS), JSON),
)
def test_any_document_is_a_resource_or_a_manifest_error(
    key: tuple[str, str], rest: dict[str, object], spec: dict[str, object]
) -> None:
    body = {"spec": spec, **rest, "apiVersion": key[0], "kind": key[1]}
    try:
        found = typed(Document(body, "a.yaml", 7))
    except ManifestError as error:
        assert str(error).startswith("a.yaml (document 7): ")  # noqa: PT017 - either may be
    else:
        assert type(found).__name__.lower() == key[1].lower()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_is_documents_or_errors(text: str) -> None:
    for found in parse_documents(text, "a.yaml"):
        assert isinstance(found, Document | ManifestError)


@given(JSON)
def test_what_yaml_writes_is_read(value: object) -> None:
    for found in parse_documents(yaml.safe_dump({"a": value}), "a.yaml"):
        assert isinstance(found, Document)
        assert set(found.body) == {"a"}
