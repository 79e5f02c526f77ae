"""Manifests of brokers that are wrong: the field is named, before anything is connected."""

from __future__ import annotations

import pytest

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.kafka.producer import headers, partition_of
from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.pubsub.servicebus_endpoint import Endpoint
from dapr_sidecar.components.pubsub.servicebus_settings import ServiceBusSettings
from dapr_sidecar.components.registry import component_class

KAFKA = {"brokers": "b:9092", "authType": "none"}
AWS = {"region": "eu-west-1"}
BUS = {"connectionString": "Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=b"}
WRONG = [
    ("pubsub.rabbitmq", {"connectionString": "http://b"}, "connectionString"),
    ("pubsub.rabbitmq", {"deliveryMode": "7"}, "deliveryMode"),
    ("pubsub.rabbitmq", {"exchangeKind": "headers"}, "exchangeKind"),
    ("pubsub.rabbitmq", {"prefetchCount": "many"}, "prefetchCount"),
    ("pubsub.jetstream", {}, "natsURL"),
    ("pubsub.jetstream", {"natsURL": "nats://b", "deliverPolicy": "sequence"}, "startSequence"),
    ("pubsub.jetstream", {"natsURL": "nats://b", "flowControl": "true"}, "heartbeat"),
    ("pubsub.jetstream", {"natsURL": "nats://b", "jwt": "x"}, "seedKey"),
    ("pubsub.jetstream", {"natsURL": "nats://b", "jwt": "x", "seedKey": "SU"}, "seedKey"),
    ("pubsub.jetstream", {"natsURL": "nats://b", "backOff": "1s,soon"}, "backOff"),
    ("pubsub.kafka", {"authType": "none"}, "brokers"),
    ("pubsub.kafka", {"brokers": "b:9092"}, "authType"),
    ("pubsub.kafka", {**KAFKA, "authType": "password"}, "saslUsername"),
    ("pubsub.kafka", {**KAFKA, "authType": "mtls"}, "clientCert"),
    ("pubsub.kafka", {**KAFKA, "authType": "awsiam"}, "authType"),
    ("pubsub.kafka", {**KAFKA, "initialOffset": "middle"}, "initialOffset"),
    ("pubsub.kafka", {**KAFKA, "excludeHeaderMetaRegex": "("}, "excludeHeaderMetaRegex"),
    ("pubsub.kafka", {**KAFKA, "schemaRegistryURL": "http://s"}, "schemaRegistryURL"),
    ("pubsub.mqtt3", {}, "url"),
    ("pubsub.mqtt3", {"url": "b:1883"}, "url"),
    ("pubsub.mqtt3", {"url": "mqtt://b", "qos": "3"}, "qos"),
    ("pubsub.mqtt3", {"url": "mqtts://b", "clientCert": "x"}, "clientKey"),
    ("pubsub.aws.snssqs", {**AWS, "messageMaxNumber": "11"}, "messageMaxNumber"),
    ("pubsub.aws.snssqs", {**AWS, "messageWaitTimeSeconds": "21"}, "messageWaitTimeSeconds"),
    ("pubsub.aws.snssqs", {**AWS, "accessKey": "a"}, "secretKey"),
    ("pubsub.aws.snssqs", {**AWS, "endpoint": "nowhere"}, "endpoint"),
    ("pubsub.azure.servicebus.topics", {}, "connectionString"),
    ("pubsub.azure.servicebus.topics", {"connectionString": "secret"}, "connectionString"),
    ("pubsub.azure.servicebus.queues", {**BUS, "maxActiveMessages": "0"}, "maxActiveMessages"),
    ("pubsub.gcp.pubsub", {}, "projectID"),
    ("pubsub.gcp.pubsub", {"projectID": "p", "ackDeadline": "1s"}, "ackDeadline"),
    ("pubsub.gcp.pubsub", {"projectID": "p", "privateKey": "k"}, "clientEmail"),
    (
        "pubsub.gcp.pubsub",
        {"projectID": "p", "privateKey": "k", "clientEmail": "c"},
        "privateKey",
    ),
    ("bindings.kafka", KAFKA, "topics"),
    ("bindings.rabbitmq", {"host": "amqp://b"}, "queueName"),
    ("bindings.rabbitmq", {"host": "b", "queueName": "q"}, "host"),
    ("bindings.mqtt3", {"url": "mqtt://b"}, "topic"),
    ("bindings.aws.sqs", AWS, "queueName"),
]


@pytest.mark.parametrize(("type_name", "properties", "field"), WRONG)
def test_the_field_is_named(type_name: str, properties: dict[str, str], field: str) -> None:
    kind = component_class(type_name, "v1")
    with pytest.raises(SettingsError, match=rf"metadata fields? '{field}'"):
        kind(decode_settings(kind.settings, properties), ComponentContext("c", "app"))


def test_no_secret_is_shown() -> None:
    kind = component_class("pubsub.rabbitmq", "v1")
    given = {"connectionString": "http://user:hidden@b"}
    with pytest.raises(SettingsError) as caught:
        kind(decode_settings(kind.settings, given), ComponentContext("c", "app"))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "digest"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)]
)
def test_keys_go_where_go_sidecars_send_them(key: bytes, digest: int) -> None:
    """The digests are those that FNV-1a's authors published; Sarama takes them as signed."""
    signed = digest - (1 << 32) if digest >= 1 << 31 else digest
    partitions = list(range(7))
    assert partition_of(key, partitions, partitions) == abs(signed) % 7


def test_a_message_without_a_key_goes_where_somebody_leads() -> None:
    assert {partition_of(None, [0, 1, 2], [1]) for _ in range(20)} == {1}


def test_headers() -> None:
    kind = component_class("pubsub.kafka", "v1")
    settings = decode_settings(kind.settings, {**KAFKA, "excludeHeaderMetaRegex": "^x-"})
    metadata = {"x-secret": "1", "partitionKey": "k", "a": "ü"}
    assert headers(metadata, settings.exclude_headers) == [
        ("partitionKey", b"k"),
        ("a", "ü".encode()),
    ]


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({"namespace": "n.example.net"}, Endpoint("n.example.net", "n.example.net", 5671, True)),
        (
            {"connection_string": "Endpoint=sb://h/;SharedAccessKeyName=a;SharedAccessKey=b="},
            Endpoint("h", "h", 5671, True),
        ),
        (
            {"connection_string": "Endpoint=sb://h:77;UseDevelopmentEmulator=true;"},
            Endpoint("h:77", "h", 77, False),
        ),
        (
            {"connection_string": "Endpoint=sb://h;UseDevelopmentEmulator=true;"},
            Endpoint("h", "h", 5672, False),
        ),
    ],
)
def test_where_a_service_bus_is(given: dict[str, str], endpoint: Endpoint) -> None:
    assert Endpoint.of(ServiceBusSettings(**given)) == endpoint
