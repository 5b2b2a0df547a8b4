"""Where moto answers otherwise than AWS, and what makes it answer the same.

Each correction is made when the first request to its service comes, so that no service is imported for nothing.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from stepbridge.api.bucket_policies import evaluate_conditions_of_bucket_policies

_SECRET_NAME = re.compile(r"[\w/+=.@!-]+", re.ASCII)


def correct(service: str, account: str) -> None:
    """Correct moto's `service`, named as moto names it, for `account`."""
    if service == "s3":
        evaluate_conditions_of_bucket_policies(account)
    if service in _CORRECTIONS:
        _CORRECTIONS[service]()


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


def _tell_capacity_only_if_asked() -> None:
    """ConsumedCapacity is in an answer if ReturnConsumedCapacity asks for it."""
    from moto.dynamodb.responses import DynamoHandler

    def corrected(operation: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @wraps(operation)
        def answer(handler: Any) -> Any:
            result = operation(handler)
            if handler.body.get("ReturnConsumedCapacity", "NONE") == "NONE":
                result.result.pop("ConsumedCapacity", None)
            return result

        return answer

    for name in ("update_item", "batch_get_item", "batch_write_item", "execute_statement", "transact_write_items"):
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

    SecretsManagerBackend.create_secret = checked  # type: ignore[method-assign]


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

    SNSBackend.publish = corrected  # type: ignore[method-assign]


_CORRECTIONS = {
    "dynamodb": _tell_capacity_only_if_asked,
    "s3": _encrypt_buckets,
    "secretsmanager": _check_secret_names,
    "sns": _refuse_messages_as_sns,
}
