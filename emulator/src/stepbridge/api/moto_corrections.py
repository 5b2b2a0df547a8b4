"""Where moto answers otherwise than AWS, and what makes it answer the same.

Each correction is made when the first request to its service comes, so that no service is imported for nothing.
"""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from stepbridge.api.bucket_policies import evaluate_conditions_of_bucket_policies

_TABLE_NAME = re.compile(r"[\w.-]+", re.ASCII)
_ITEM_OPERATIONS = (
    *("get_item", "put_item", "update_item", "delete_item", "query", "scan"),
    *("batch_get_item", "batch_write_item", "transact_write_items"),
)
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)
_QUEUE_NUMBERS = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
_SECRET_NAME = re.compile(r"[\w/+=.@!-]+", re.ASCII)


def correct(service: str, account: str) -> None:
    """Correct moto's `service`, named as moto names it, for `account`."""
    if service == "s3":
        evaluate_conditions_of_bucket_policies(account)
    for make in _CORRECTIONS.get(service, ()):
        make()


def _encrypt_buckets() -> None:
    """Every bucket has default encryption, which can be changed but not taken away.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html
    """
    from moto.s3.models import FakeBucket

    default = {"Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}}

    def get(bucket: Any) -> Any:
        return bucket.__dict__.get("encryption") or default

    def put(bucket: Any, encryption: Any) -> None:
        bucket.__dict__["encryption"] = encryption

    FakeBucket.encryption = property(get, put)  # type: ignore[assignment]


def _read_items_as_dynamodb() -> None:
    """Keys have the names and types of the table's schema; ConsumedCapacity is told to those who ask for it."""
    from moto.dynamodb.exceptions import MockValidationException, ProvidedKeyDoesNotExist
    from moto.dynamodb.responses import DynamoHandler

    def check(handler: Any) -> None:
        table_name, key = handler.body.get("TableName", ""), handler.body.get("Key")
        if not table_name.startswith("arn:") and not _TABLE_NAME.fullmatch(table_name):
            raise MockValidationException(
                f"1 validation error detected: Value '{table_name}' at 'tableName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
            )
        if key is not None:
            table = handler.dynamodb_backend.get_table(table_name)
            types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in table.attr}
            if {name: next(iter(value), None) for name, value in key.items()} != {
                name: types[name] for name in table.attribute_keys
            }:
                raise ProvidedKeyDoesNotExist

    def corrected(operation: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @wraps(operation)
        def answer(handler: Any) -> Any:
            if "TableName" in handler.body:
                check(handler)
            result = operation(handler)
            if handler.body.get("ReturnConsumedCapacity", "NONE") == "NONE":
                result.result.pop("ConsumedCapacity", None)
            return result

        return answer

    for name in _ITEM_OPERATIONS:
        setattr(DynamoHandler, name, corrected(getattr(DynamoHandler, name)))


def _check_secret_names() -> None:
    """https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html"""
    from moto.secretsmanager.exceptions import ValidationException
    from moto.secretsmanager.models import SecretsManagerBackend

    create_secret = SecretsManagerBackend.create_secret

    @wraps(create_secret)
    def checked(backend: Any, name: str, *arguments: Any, **named: Any) -> str:
        if not _SECRET_NAME.fullmatch(name):
            raise ValidationException(
                "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: "
                "-/_+=.@!"
            )
        return create_secret(backend, name, *arguments, **named)

    SecretsManagerBackend.create_secret = checked  # type: ignore[method-assign, assignment]


def _refuse_messages_as_sns() -> None:
    """Publish's refusals: an InvalidParameter says so in its text, and what is missing is a topic, not an endpoint."""
    from moto.sns.exceptions import InvalidParameterValue, SNSNotFoundError, TopicNotFound
    from moto.sns.models import SNSBackend
    from moto.sqs.exceptions import MissingParameter

    publish = SNSBackend.publish

    @wraps(publish)
    def corrected(backend: Any, message: str, arn: str | None, *arguments: Any, **named: Any) -> str:
        if not message:
            raise InvalidParameterValue("Invalid parameter: Empty message")
        if arn is None and named.get("phone_number") is None:
            text = "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"
            raise InvalidParameterValue(text)
        if named.get("message_structure") == "json" and (reason := _why_not_by_protocol(message)):
            raise InvalidParameterValue(f"Invalid parameter: Message Structure - {reason}")
        if arn is not None and (parts := arn.count(":") + 1) < 6:
            reason = f"An ARN must have at least 6 elements, not {parts}"
            raise InvalidParameterValue(f"Invalid parameter: TopicArn Reason: {reason}")
        try:
            return publish(backend, message, arn, *arguments, **named)
        except MissingParameter:
            text = "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"
            raise InvalidParameterValue(text) from None
        except SNSNotFoundError:
            if arn is not None and ":endpoint/" in arn:
                raise
            raise TopicNotFound from None
        except InvalidParameterValue as error:
            text = str(error.message).partition("operation: ")[2] or str(error.message)
            prefix = "" if text.startswith("Invalid parameter") else "Invalid parameter: "
            raise InvalidParameterValue(prefix + text) from None

    SNSBackend.publish = corrected  # type: ignore[method-assign, assignment]


def _why_not_by_protocol(message: str) -> str | None:
    """What is wrong with a message that has a text for each protocol."""
    try:
        by_protocol = json.loads(message)
    except ValueError:
        return "JSON message body failed to parse"
    return (
        None if isinstance(by_protocol, dict) and "default" in by_protocol else "No default entry in JSON message body"
    )


def _take_policies_of_any_version() -> None:
    """Only managed policies must say that they are of version 2012-10-17; those in roles may be of 2008, the default.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html; what the SAM transform
    makes of policy templates has no version.
    """
    from moto.iam.models import IAMBackend
    from moto.iam.policy_validation import BaseIAMPolicyValidator, IAMPolicyDocumentValidator

    check_version = BaseIAMPolicyValidator._validate_version

    class ManagedPolicyValidator(IAMPolicyDocumentValidator):
        _validate_version = check_version

    def strict(operation: Callable[..., Any], position: int) -> Callable[..., Any]:
        @wraps(operation)
        def answer(backend: Any, *arguments: Any) -> Any:
            ManagedPolicyValidator(arguments[position]).validate()
            return operation(backend, *arguments)

        return answer

    BaseIAMPolicyValidator._validate_version = lambda _: None  # type: ignore[method-assign, assignment]
    IAMBackend.create_policy = strict(IAMBackend.create_policy, 2)  # type: ignore[method-assign]
    IAMBackend.create_policy_version = strict(IAMBackend.create_policy_version, 1)  # type: ignore[method-assign]


def _check_bucket_names() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
    from moto.s3.exceptions import InvalidBucketName
    from moto.s3.models import S3Backend

    create = S3Backend.create_bucket

    @wraps(create)
    def create_bucket(backend: Any, bucket_name: str, *arguments: Any, **named: Any) -> Any:
        if not _BUCKET_NAME.fullmatch(bucket_name) or ".." in bucket_name or _ADDRESS.fullmatch(bucket_name):
            raise InvalidBucketName
        return create(backend, bucket_name, *arguments, **named)

    S3Backend.create_bucket = create_bucket  # type: ignore[method-assign, assignment]


def _check_queue_attributes() -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html"""
    from moto.sqs.exceptions import InvalidAttributeValue
    from moto.sqs.models import Queue

    set_attributes = Queue._set_attributes

    @wraps(set_attributes)
    def checked(queue: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        for name, (least, most) in _QUEUE_NUMBERS.items():
            value = str(attributes.get(name, least))
            if not value.isdecimal() or not least <= int(value) <= most:
                raise InvalidAttributeValue(name)
        set_attributes(queue, attributes, now)

    Queue._set_attributes = checked  # type: ignore[method-assign, assignment]


_CORRECTIONS: dict[str, tuple[Callable[[], None], ...]] = {
    "dynamodb": (_read_items_as_dynamodb,),
    "iam": (_take_policies_of_any_version,),
    "s3": (_encrypt_buckets, _check_bucket_names),
    "secretsmanager": (_check_secret_names,),
    "sns": (_refuse_messages_as_sns,),
    "sqs": (_check_queue_attributes,),
}
