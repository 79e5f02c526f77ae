"""Settings of both kinds of Azure Service Bus; names as in Dapr."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dapr_sidecar.components.azure.settings import AzureSettings
from dapr_sidecar.components.metadata import SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBusSettings(AzureSettings):
    """A connection string, or a namespace and who we are; bare numbers are seconds."""

    connection_string: str = setting(
        "connectionString", default="", secret=True, help="shared access policy of the namespace"
    )
    namespace: str = setting(
        "namespaceName", default="", help="name.servicebus.windows.net, without the string"
    )
    consumer_id: str = setting("consumerID", default="", help="name of the subscription")
    no_management: bool = setting(
        "disableEntityManagement", default=False, help="topics, queues, subscriptions are there"
    )
    max_active: int = setting("maxActiveMessages", default=1000, help="messages held at once")
    max_handlers: int = setting(
        "maxConcurrentHandlers", default=0, help="messages handled at once; 0: all that are held"
    )
    lock_renewal: timedelta = setting(
        "lockRenewalInSec", default=timedelta(seconds=20), help="how often held ones are kept"
    )
    handler_timeout: timedelta = setting(
        "handlerTimeoutInSec", default=timedelta(seconds=60), help="how long a delivery may take"
    )
    timeout: timedelta = setting(
        "timeoutInSec", default=timedelta(seconds=60), help="how long to wait for an answer"
    )
    recovery_min: timedelta = setting(
        "minConnectionRecoveryInSec",
        default=timedelta(seconds=2),
        help="first pause before connecting again",
    )
    recovery_max: timedelta = setting(
        "maxConnectionRecoveryInSec", default=timedelta(seconds=300), help="the longest one"
    )
    max_errors: int = setting(
        "maxRetriableErrorsPerSec", default=10, help="accepted; failures are spread by pauses"
    )
    publish_retries: int = setting(
        "publishMaxRetries", default=5, help="further attempts to publish"
    )
    publish_interval: timedelta = setting(
        "publishInitialRetryIntervalInMs",
        default=timedelta(milliseconds=500),
        duration_unit=0.001,
        help="pause before the first of them; it grows",
    )
    lock_duration: timedelta | None = setting(
        "lockDurationInSec", default=None, help="of what is made: how long a message is ours"
    )
    auto_delete: timedelta | None = setting(
        "autoDeleteOnIdleInSec", default=None, help="of what is made: it goes when unused so long"
    )
    default_ttl: timedelta | None = setting(
        "defaultMessageTimeToLiveInSec", default=None, help="of what is made: messages expire"
    )
    max_deliveries: int | None = setting(
        "maxDeliveryCount", default=None, help="of what is made: attempts before dead-lettering"
    )

    def check(self) -> None:
        """Raises ``SettingsError``."""
        if not self.connection_string and not self.namespace:
            raise SettingsError(
                "missing required metadata field 'connectionString': expected that or "
                "'namespaceName' with a Microsoft Entra ID identity"
            )
        if self.connection_string and "Endpoint=" not in self.connection_string:
            raise SettingsError(
                "invalid metadata field 'connectionString': expected Endpoint=sb://…;"
                "SharedAccessKeyName=…;SharedAccessKey=…"
            )
        for name, value in (
            ("maxActiveMessages", self.max_active),
            ("lockRenewalInSec", self.lock_renewal.total_seconds()),
        ):
            if value <= 0:
                raise SettingsError(f"invalid metadata field '{name}': expected more than 0")

    def described(self) -> dict[str, timedelta | int | None]:
        """What queues and subscriptions are made with."""
        idle = self.auto_delete
        return {
            "lock_duration": self.lock_duration,
            "auto_delete_on_idle": idle if idle and idle.total_seconds() > 0 else None,
            "default_message_time_to_live": self.default_ttl,
            "max_delivery_count": self.max_deliveries,
        }
