"""``pubsub.aws.snssqs``: a topic of SNS, one queue of SQS per consumer group."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from dapr_sidecar.components.aws.credentials import domain
from dapr_sidecar.components.aws.query import AwsQueryClient
from dapr_sidecar.components.aws.queue import (
    QueueReading,
    SqsSession,
    ensure_queue,
    json_or_none,
    queue_attributes,
    queue_url,
    sqs_client,
)
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.calls import within
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.pubsub.base import (
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)
from dapr_sidecar.components.pubsub.snssqs_settings import (
    IN_FLIGHT,
    ConcurrencyMode,
    SnsSqsSettings,
)

_SNS_VERSION, _STS_VERSION = "2010-03-31", "2011-06-15"
_CALL_SECONDS, _PUBLISH_SECONDS = 15.0, 15.0
_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 80
_FIFO = ".fifo"


class _Topic:
    """One subscription: its handler, and how many messages it has now."""

    def __init__(self, owner: SnsSqsPubSub, arn: str, handler: MessageHandler) -> None:
        self.arn = arn
        self._owner = owner
        self._handler = handler
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, message: Message) -> None:
        self._running += 1
        self._idle.clear()
        try:
            await self._handler(message)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def close(self) -> None:
        """No more for this topic; the queue is read as long as there is another."""
        await self._owner.forget(self)
        await self._idle.wait()


class SnsSqsPubSub(PubSub):
    """All topics of a group come through its one queue."""

    settings = SnsSqsSettings

    def __init__(self, settings: SnsSqsSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        settings.check()
        self._config = settings
        self._group = settings.consumer_id.strip() or context.app_id
        self._sns = AwsQueryClient(settings, "sns", _SNS_VERSION, _CALL_SECONDS)
        self._sts = AwsQueryClient(settings, "sts", _STS_VERSION, _CALL_SECONDS)
        self._sqs = sqs_client(settings)
        where = settings.endpoint or settings.checked_region()
        self._silent = f"AWS SNS or SQS at {where} did not answer"
        self._arns: dict[str, str] = {}
        self._topics: dict[str, _Topic] = {}
        self._receiver: Receiver[Message] | None = None
        self._managing = asyncio.Lock()
        self._managing_seconds = max(settings.management_seconds * 4, 1.0)

    async def open(self) -> None:
        """Nothing is made before it is used; who we are is asked here, if it has to be."""
        if self._config.no_management and not self._config.account:
            await self._account()

    async def close(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()
        await self._sns.close()
        await self._sts.close()
        await self._sqs.close()

    async def ping(self) -> None:
        async with within(_PUBLISH_SECONDS, self._silent):
            await self._sqs.call("ListQueues", {"MaxResults": 1})

    # --- publishing -------------------------------------------------------------------------

    async def publish(self, request: PublishRequest) -> None:
        try:
            text = request.data.decode()
        except UnicodeDecodeError:
            raise ValueError("SNS takes text only: publish without rawPayload, or encode") from None
        async with within(_PUBLISH_SECONDS, self._silent):  # with all repetitions
            words = {"TopicArn": await self._topic_arn(request.topic), "Message": text}
            if self._config.fifo:
                words["MessageGroupId"] = self._config.fifo_group or self._group
                words["MessageDeduplicationId"] = str(uuid.uuid4())
            await self._sns.call("Publish", words)

    async def _topic_arn(self, topic: str) -> str:
        if (arn := self._arns.get(topic)) is not None:
            return arn
        name = self._name(topic)
        if self._config.no_management:
            region = self._config.checked_region()
            part = "aws-cn" if domain(region).endswith(".cn") else "aws"
            arn = f"arn:{part}:sns:{region}:{await self._account()}:{name}"
        else:
            words = {
                "Name": name,
                "Tags.member.1.Key": "dapr-topic-name",
                "Tags.member.1.Value": topic,
            }
            if self._config.fifo:
                words["Attributes.entry.1.key"] = "FifoTopic"
                words["Attributes.entry.1.value"] = "true"
            async with within(self._config.management_seconds, self._silent):
                arn = (await self._sns.call("CreateTopic", words))["TopicArn"]
        self._arns[topic] = arn
        return arn

    async def _account(self) -> str:
        if self._config.account:
            return self._config.account
        return (await self._sts.call("GetCallerIdentity", {}))["Account"]

    def _name(self, text: str) -> str:
        """What the service allows of a name."""
        ending = _FIFO if self._config.fifo else ""
        bare = _NAME.sub("", text.removesuffix(ending) if ending else text)
        return bare[: _LONGEST_NAME - len(ending)] + ending

    # --- subscribing ------------------------------------------------------------------------

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        arn = await self._topic_arn(topic)
        async with self._managing:
            url = await self._queue()
            if not self._config.no_management:
                async with within(self._managing_seconds, self._silent):
                    await self._join(arn, url)
            found = self._topics[arn] = _Topic(self, arn, handler)
            if self._receiver is None:
                self._receiver = self._new_receiver(url)
                await self._receiver.start()
        return found

    async def forget(self, topic: _Topic) -> None:
        """The topic's messages are for others; without topics the queue is read no more."""
        async with self._managing:
            if self._topics.get(topic.arn) is topic:
                del self._topics[topic.arn]
            receiver = self._receiver
            if self._topics or receiver is None:
                return
            self._receiver = None
            await receiver.close()

    def _new_receiver(self, url: str) -> Receiver[Message]:
        config = self._config
        limit = config.limit or IN_FLIGHT
        reading = QueueReading(
            url=url,
            visibility=config.visibility_timeout,
            wait=config.wait_seconds,
            batch=config.max_number,
            attempts=0 if config.dead_letters or config.keep_on_limit else config.retry_limit,
        )

        async def opener(put: Callable[[Delivery[Message]], None]) -> Session:
            session = SqsSession(self._sqs, reading, _message, put, receiver.room)
            session.start()
            return session

        single = config.mode is ConcurrencyMode.SINGLE
        receiver: Receiver[Message] = Receiver(
            f"queue {url}",
            opener,
            self._handle,
            concurrency=1 if single else limit,
            limit=2 * (config.max_number if single else limit),  # read again at half of it
            pause=1.0,
        )
        return receiver

    async def _handle(self, message: Message) -> None:
        if (topic := self._topics.get(message.topic)) is None:
            raise LookupError(f"nothing here is subscribed to {message.topic}")
        name = next((name for name, arn in self._arns.items() if arn == message.topic), "")
        await topic.handle(Message(name or message.topic, message.data, message.metadata))

    async def _queue(self) -> str:
        name = self._name(self._group)
        if self._config.no_management:
            if (url := await queue_url(self._sqs, name)) is None:
                raise LookupError(f"there is no queue {name}, and disableEntityManagement is on")
            return url
        async with within(self._managing_seconds, self._silent):
            attributes = {"FifoQueue": "true"} if self._config.fifo else {}
            if self._config.dead_letters:
                attributes["RedrivePolicy"] = await self._redrive(attributes)
            tags = {"dapr-queue-name": self._group}
            return await ensure_queue(self._sqs, name, attributes, tags)

    async def _redrive(self, attributes: Mapping[str, str]) -> str:
        name = self._config.dead_letters
        tags = {"dapr-queue-name": name}
        url = await ensure_queue(self._sqs, self._name(name), attributes, tags)
        arn = (await queue_attributes(self._sqs, url, "QueueArn"))["QueueArn"]
        policy = {"deadLetterTargetArn": arn, "maxReceiveCount": str(self._config.receive_limit)}
        return orjson.dumps(policy).decode()

    async def _join(self, topic_arn: str, url: str) -> None:
        """The topic may send to the queue, and does."""
        found = await queue_attributes(self._sqs, url, "QueueArn", "Policy")
        queue_arn = found["QueueArn"]
        policy = json_or_none(found.get("Policy", "")) or {
            "Version": "2012-10-17",
            "Statement": [],
        }
        if topic_arn not in found.get("Policy", ""):
            policy["Statement"].append(_permission(topic_arn, queue_arn))
            changed = {"Policy": orjson.dumps(policy).decode()}
            await self._sqs.call("SetQueueAttributes", {"QueueUrl": url, "Attributes": changed})
        words = {"TopicArn": topic_arn, "Protocol": "sqs", "Endpoint": queue_arn}
        await self._sns.call("Subscribe", words)


def _permission(topic_arn: str, queue_arn: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }


def _message(raw: Mapping[str, Any]) -> Message:
    """The topic is the ARN of the notification that SNS wrapped the text in."""
    body = str(raw.get("Body", ""))
    wrapped = json_or_none(body) or {}
    if "TopicArn" not in wrapped or "Message" not in wrapped:
        return Message("", body.encode())  # sent to the queue by somebody else
    return Message(str(wrapped["TopicArn"]), str(wrapped["Message"]).encode())
