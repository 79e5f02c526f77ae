"""Settings of ``pubsub.aws.snssqs``; names as in Dapr."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.metadata import SettingsError, setting

IN_FLIGHT = 1000
"""Messages handled at once when the manifest names no limit."""
_MOST_POLL_SECONDS = 20


class ConcurrencyMode(Enum):
    """Whether messages are handled side by side."""

    PARALLEL = "parallel"
    SINGLE = "single"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnsSqsSettings(AwsSettings):
    """Who and where, and these; bare numbers of times are seconds."""

    consumer_id: str = setting("consumerID", default="", help="name of the queue; the app id")
    visibility_timeout: int = setting(
        "messageVisibilityTimeout", default=10, help="after it a failed message comes again"
    )
    receive_limit: int = setting(
        "messageReceiveLimit", default=10, help="deliveries before the dead letters' queue"
    )
    retry_limit: int = setting(
        "messageRetryLimit", default=10, help="a failed message is deleted after so many"
    )
    dead_letters: str = setting(
        "sqsDeadLettersQueueName", default="", help="queue that failed messages go to"
    )
    wait_seconds: int = setting(
        "messageWaitTimeSeconds", default=2, help="how long the service waits for messages"
    )
    max_number: int = setting("messageMaxNumber", default=10, help="messages of one answer; 1-10")
    fifo: bool = setting("fifo", default=False, help="topics and queues keep the order")
    fifo_group: str = setting(
        "fifoMessageGroupID", default="", help="whose order is kept; the consumerID"
    )
    no_management: bool = setting(
        "disableEntityManagement", default=False, help="topics, queues, subscriptions are there"
    )
    keep_on_limit: bool = setting(
        "disableDeleteOnRetryLimit", default=False, help="messageRetryLimit deletes nothing"
    )
    management_seconds: float = setting(
        "assetsManagementTimeoutSeconds", default=1.0, help="how long making one of them may take"
    )
    mode: ConcurrencyMode = setting(
        "concurrencyMode", default=ConcurrencyMode.PARALLEL, help="single: one after the other"
    )
    limit: int = setting(
        "concurrencyLimit", default=0, help=f"messages handled at once; 0: {IN_FLIGHT}"
    )
    account: str = setting("accountId", default="", help="account of topics; asked for when empty")

    def check(self) -> None:
        """Raises ``SettingsError``."""
        if not 1 <= self.max_number <= 10:
            raise SettingsError("invalid metadata field 'messageMaxNumber': expected 1 to 10")
        if not 0 <= self.wait_seconds <= _MOST_POLL_SECONDS:
            raise SettingsError("invalid metadata field 'messageWaitTimeSeconds': expected 0 to 20")
        if self.visibility_timeout < 1:
            raise SettingsError("invalid metadata field 'messageVisibilityTimeout': expected 1 up")
        if self.dead_letters and self.receive_limit < 1:
            raise SettingsError("invalid metadata field 'messageReceiveLimit': expected 1 up")
