"""sqs, sns, kinesis, firehose: the output to a queue, a topic, a stream."""

import base64
import re
import uuid
from collections.abc import Mapping

from stepbridge.iot.rules.actions.base import Action, ActionError, Delivery, Members, TemplateCompiler
from stepbridge.iot.rules.sql.values import json_text

_QUEUE_URL = re.compile(r"https?://[^/]+/(?P<account>\d{12})/(?P<name>[\w-]+(?:\.fifo)?)")
_FIREHOSE_BATCH = 500


class SqsAction(Action):
    """developerguide/sqs-rule-action.html.  FIFO queues are not supported."""

    name = "sqs"
    service = "AmazonSQS"
    failure = "Failed to send message to SQS queue"
    target_member = "queueUrl"
    target_label = "Queue url"

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a FIFO queue."""
        url = await delivery.text(self.target)
        match = _QUEUE_URL.fullmatch(url)
        if match is None:
            raise ActionError(f"{url!r} is not the URL of a queue")
        if match["name"].endswith(".fifo"):
            raise ActionError("FIFO queues are not supported by the SQS action")
        await self.authorize(delivery, "sqs:SendMessage", delivery.arn("sqs", match["name"]))
        encoded = self.members.get("useBase64", False)
        body = base64.b64encode(delivery.output.payload).decode() if encoded else delivery.payload_text()
        await delivery.services.calls.call("sqs", "SendMessage", QueueUrl=url, MessageBody=body)
        return {"QueueUrl": url}


class SnsAction(Action):
    """developerguide/sns-rule-action.html.  FIFO topics are not supported."""

    name = "sns"
    service = "AmazonSNS"
    failure = "Failed to publish to SNS topic"
    target_member = "targetArn"
    target_label = "Target arn"

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for a FIFO topic."""
        arn = await delivery.text(self.target)
        if arn.endswith(".fifo"):
            raise ActionError("FIFO topics are not supported by the SNS action")
        await self.authorize(delivery, "sns:Publish", arn)
        structure = {"MessageStructure": "json"} if self.members.get("messageFormat") == "JSON" else {}
        await delivery.services.calls.call(
            "sns", "Publish", TargetArn=arn, Message=delivery.payload_text(), **structure
        )
        return {"TargetArn": arn}


class KinesisAction(Action):
    """developerguide/kinesis-rule-action.html."""

    name = "kinesis"
    service = "AmazonKinesis"
    failure = "Failed to put record to Kinesis stream"
    target_member = "streamName"
    target_label = "Stream name"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._partition_key = self.optional_template("partitionKey")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Without a partition key, one at random."""
        stream = await delivery.text(self.target)
        key = str(uuid.uuid4()) if self._partition_key is None else await delivery.text(self._partition_key)
        await self.authorize(delivery, "kinesis:PutRecord", delivery.arn("kinesis", f"stream/{stream}"))
        await delivery.services.calls.call(
            "kinesis", "PutRecord", StreamName=stream, Data=delivery.output.payload, PartitionKey=key
        )
        return {"StreamName": stream}


class FirehoseAction(Action):
    """developerguide/kinesis-firehose-rule-action.html."""

    name = "firehose"
    service = "AmazonKinesisFirehose"
    failure = "Failed to put record to Firehose stream"
    target_member = "deliveryStreamName"
    target_label = "Delivery stream name"

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """In batch mode each item of the output, which must be an array, becomes a record."""
        stream = await delivery.text(self.target)
        resource = delivery.arn("firehose", f"deliverystream/{stream}")
        separator = self.members.get("separator", "").encode()
        call = delivery.services.calls.call
        if not self.members.get("batchMode", False):
            await self.authorize(delivery, "firehose:PutRecord", resource)
            record = {"Data": delivery.output.payload + separator}
            await call("firehose", "PutRecord", DeliveryStreamName=stream, Record=record)
            return {"DeliveryStreamName": stream}
        items = delivery.json_value()
        if not isinstance(items, list):
            raise ActionError("batchMode needs a statement whose output is an array")
        await self.authorize(delivery, "firehose:PutRecordBatch", resource)
        if len(items) > _FIREHOSE_BATCH:
            raise ActionError(f"batchMode takes an array of at most {_FIREHOSE_BATCH} records, not {len(items)}")
        records = [{"Data": json_text(item).encode(errors="replace") + separator} for item in items]
        await call("firehose", "PutRecordBatch", DeliveryStreamName=stream, Records=records)
        return {"DeliveryStreamName": stream}
