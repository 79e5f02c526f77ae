from __future__ import annotations

import pytest
from harness.block_api import make_context

from dapr_common.kube.resources import Component, NameValue
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.pubsub.scopes import TopicScopes


def scopes(app: str = "app1", **properties: str) -> TopicScopes:
    return TopicScopes.of(properties, app)


def test_nothing_set_allows_everything() -> None:
    assert scopes().may_publish("t")
    assert scopes().may_subscribe("t")


@pytest.mark.parametrize(
    ("app", "topic", "allowed"),
    [
        ("app1", "t1", True),
        ("app1", "t3", False),
        ("app2", "t3", True),
        ("app3", "t1", False),
        ("app4", "t9", True),
    ],
)
def test_publishing_scopes(app: str, topic: str, allowed: bool) -> None:
    found = scopes(app, publishingscopes="app1 = t1, t2; app2=t3;app3=")
    assert found.may_publish(topic) is allowed
    assert found.may_subscribe(topic)


def test_allowed_topics_come_first() -> None:
    found = scopes(allowedtopics="t1", subscriptionscopes="app1=t2")
    assert not found.may_subscribe("t2")
    assert not found.may_subscribe("t1")


def test_protected_topics_need_a_scope() -> None:
    assert not scopes(protectedtopics="p").may_publish("p")
    assert scopes(protectedtopics="p", publishingscopes="app1=p").may_publish("p")
    assert scopes(protectedtopics="p").may_publish("other")


@pytest.mark.parametrize(
    ("value", "prefix"), [("{namespace}-x", "default"), ("{appID}", ""), ("namespace", "")]
)
def test_a_namespace_in_any_value_goes_before_every_topic(value: str, prefix: str) -> None:
    manifest = Component("ps", "pubsub.x", metadata=(NameValue("consumerID", value),))
    context = make_context()
    assert context.identity.namespace == "", "NAMESPACE is not set"
    assert PubSubBlock(context).prepare(manifest, {}).prefix == prefix
