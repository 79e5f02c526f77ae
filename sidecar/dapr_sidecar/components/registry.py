"""Component types: manifest ``type/version`` → where the class lives.

Imports happen only for what a manifest names. A missing library is reported with the extra that
brings it.
"""

from __future__ import annotations

from importlib import import_module

from dapr_sidecar.components.base import Component

_ROOT = "dapr_sidecar.components."

# One line per type and version; "" and "v0" mean v1 for types that have a v1 only.
TYPES: dict[str, str] = {
    "state.aws.dynamodb/v1": "state.dynamodb:DynamoDbStateStore",
    "state.azure.cosmosdb/v1": "state.cosmosdb:CosmosDbStateStore",
    "state.etcd/v1": "state.etcd_v1:EtcdV1StateStore",
    "state.etcd/v2": "state.etcd_v2:EtcdV2StateStore",
    "state.in-memory/v1": "state.memory:InMemoryStateStore",
    "state.mongodb/v1": "state.mongodb:MongoDbStateStore",
    "state.postgresql/v1": "state.postgresql_v1:PostgresV1StateStore",
    "state.postgresql/v2": "state.postgresql_v2:PostgresV2StateStore",
    "state.redis/v1": "state.redis:RedisStateStore",
    "state.sqlite/v1": "state.sqlite:SqliteStateStore",
    "pubsub.in-memory/v1": "pubsub.memory:InMemoryPubSub",
    "pubsub.redis/v1": "pubsub.redis:RedisPubSub",
    "pubsub.sqlite/v1": "pubsub.sqlite:SqlitePubSub",
    "pubsub.aws.snssqs/v1": "pubsub.snssqs:SnsSqsPubSub",
    "pubsub.azure.servicebus.queues/v1": "pubsub.servicebus:ServiceBusQueues",
    "pubsub.azure.servicebus.topics/v1": "pubsub.servicebus:ServiceBusTopics",
    "pubsub.gcp.pubsub/v1": "pubsub.gcp:GcpPubSub",
    "pubsub.rabbitmq/v1": "pubsub.rabbitmq:RabbitMqPubSub",
    "pubsub.jetstream/v1": "pubsub.jetstream:JetStreamPubSub",
    "pubsub.kafka/v1": "pubsub.kafka:KafkaPubSub",
    "pubsub.mqtt3/v1": "pubsub.mqtt3:MqttPubSub",
    "bindings.cron/v1": "bindings.cron:CronBinding",
    "bindings.http/v1": "bindings.http:HttpBinding",
    "bindings.localstorage/v1": "bindings.localstorage:LocalStorageBinding",
    "bindings.redis/v1": "bindings.redis:RedisBinding",
    "bindings.aws.s3/v1": "bindings.s3:S3Binding",
    "bindings.aws.sqs/v1": "bindings.sqs:SqsBinding",
    "bindings.azure.blobstorage/v1": "bindings.blobstorage:BlobStorageBinding",
    "bindings.gcp.bucket/v1": "bindings.gcp_bucket:GcpBucketBinding",
    "bindings.kafka/v1": "bindings.kafka:KafkaBinding",
    "bindings.mqtt3/v1": "bindings.mqtt3:MqttBinding",
    "bindings.rabbitmq/v1": "bindings.rabbitmq:RabbitMqBinding",
    "bindings.postgresql/v1": "bindings.postgresql:PostgresBinding",
    "bindings.smtp/v1": "bindings.smtp:SmtpBinding",
    "bindings.twilio.sms/v1": "bindings.twilio_sms:TwilioSmsBinding",
    "bindings.twitter/v1": "bindings.twitter:TwitterBinding",
    "secretstores.aws.parameterstore/v1": "secretstores.aws_parameterstore:ParameterStore",
    "secretstores.aws.secretmanager/v1": "secretstores.aws_secretmanager:SecretsManagerStore",
    "secretstores.azure.keyvault/v1": "secretstores.azure_keyvault:KeyVaultSecretStore",
    "secretstores.gcp.secretmanager/v1": "secretstores.gcp_secretmanager:GcpSecretManagerStore",
    "secretstores.hashicorp.vault/v1": "secretstores.vault:VaultSecretStore",
    "secretstores.kubernetes/v1": "secretstores.kubernetes:KubernetesSecretStore",
    "secretstores.local.env/v1": "secretstores.local_env:LocalEnvSecretStore",
    "secretstores.local.file/v1": "secretstores.local_file:LocalFileSecretStore",
    "configuration.postgresql/v1": "configuration.postgresql:PostgresConfigurationStore",
    "configuration.redis/v1": "configuration.redis:RedisConfigurationStore",
    "lock.redis/v1": "lock.redis:RedisLockStore",
    "crypto.aws.kms/v1": "crypto.aws_kms:KmsCrypto",
    "crypto.azure.keyvault/v1": "crypto.azure_keyvault:KeyVaultCrypto",
    "crypto.dapr.jwks/v1": "crypto.jwks:JwksCrypto",
    "crypto.dapr.kubernetes.secrets/v1": "crypto.kubernetes_secrets:KubernetesCrypto",
    "crypto.dapr.localstorage/v1": "crypto.localstorage:LocalStorageCrypto",
    "nameresolution.mdns/v1": "nameresolution.mdns:MdnsResolver",
    "nameresolution.sqlite/v1": "nameresolution.sqlite:SqliteResolver",
    "nameresolution.nameformat/v1": "nameresolution.nameformat:NameFormatResolver",
    "nameresolution.structuredformat/v1": "nameresolution.structuredformat:StructuredResolver",
    "nameresolution.kubernetes/v1": "nameresolution.kubernetes:KubernetesResolver",
    "nameresolution.consul/v1": "nameresolution.consul:ConsulResolver",
    "nameresolution.hashicorp.consul/v1": "nameresolution.consul:ConsulResolver",
    "middleware.http.bearer/v1": "middleware.bearer:BearerMiddleware",
    "middleware.http.oauth2/v1": "middleware.oauth2:OAuth2Middleware",
    "middleware.http.oauth2clientcredentials/v1": (
        "middleware.oauth2clientcredentials:ClientCredentialsMiddleware"
    ),
    "middleware.http.opa/v1": "middleware.opa:OpaMiddleware",
    "middleware.http.ratelimit/v1": "middleware.ratelimit:RateLimitMiddleware",
    "middleware.http.routerchecker/v1": "middleware.routerchecker:RouterCheckerMiddleware",
    "middleware.http.uppercase/v1": "middleware.uppercase:UppercaseMiddleware",
    "middleware.http.routeralias/v1": "middleware.routeralias:RouterAliasMiddleware",
}

# Other names of the same components.
ALIASES: dict[str, str] = {
    "bindings.mqtt/v1": "bindings.mqtt3/v1",
    "bindings.postgres/v1": "bindings.postgresql/v1",
    "configuration.postgres/v1": "configuration.postgresql/v1",
    "pubsub.azure.servicebus/v1": "pubsub.azure.servicebus.topics/v1",
    "pubsub.azure.servicebusqueues/v1": "pubsub.azure.servicebus.queues/v1",
    "pubsub.mqtt/v1": "pubsub.mqtt3/v1",
    "pubsub.snssqs/v1": "pubsub.aws.snssqs/v1",
    "state.cockroachdb/v2": "state.postgresql/v2",
    "state.postgres/v1": "state.postgresql/v1",
    "state.postgres/v2": "state.postgresql/v2",
    "state.sqlite3/v1": "state.sqlite/v1",
    "state.yugabyte/v2": "state.postgresql/v2",
    "state.yugabytedb/v2": "state.postgresql/v2",
}

# Libraries that only some components need → the extra that brings them.
EXTRAS: dict[str, str] = {
    "aiokafka": "kafka",
    "aiomqtt": "mqtt",
    "aiormq": "rabbitmq",
    "aiosmtplib": "smtp",
    "azure": "azure",
    "nats": "nats",
    "asyncpg": "postgresql",
    "pymongo": "mongodb",
    "bson": "mongodb",
}

# Words of Dapr's messages: "couldn't find state store state.nope/v1".
KIND_WORDS: dict[str, str] = {
    "state": "state store",
    "pubsub": "message bus",
    "bindings": "binding",
    "secretstores": "secret store",
    "configuration": "configuration store",
    "lock": "lock store",
    "crypto": "crypto provider",
    "middleware": "HTTP middleware",
    "nameresolution": "name resolver",
}


class UnknownComponentError(LookupError):
    """The manifest names a type or category that this sidecar does not have."""


class MissingLibraryError(UnknownComponentError):
    """The sidecar has the type, but not what it needs."""


def component_class(type_name: str, version: str) -> type[Component]:
    """The class for a manifest's type and version. Raises ``UnknownComponentError``."""
    category = type_name.split(".", 1)[0]
    if category not in KIND_WORDS:
        raise UnknownComponentError(f"incorrect type {type_name}")
    wanted = version.lower() or "v1"
    key = f"{type_name.lower()}/{'v1' if wanted == 'v0' else wanted}"
    if (location := TYPES.get(ALIASES.get(key, key))) is None:
        raise UnknownComponentError(f"couldn't find {KIND_WORDS[category]} {type_name}/{wanted}")
    module, _, name = location.partition(":")
    try:
        found: type[Component] = getattr(import_module(_ROOT + module), name)
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            f"{type_name}/{wanted} needs the Python package '{error.name}', which is not installed"
            + _where(error)
        ) from error
    return found


def _where(error: ModuleNotFoundError) -> str:
    extra = EXTRAS.get((error.name or "").partition(".")[0], "")
    return extra and f": install the sidecar with its extra '{extra}'"
