"""The resource types: how each is created, updated and deleted through the emulator's own APIs.

One small class per type, one file per family.  A class says which properties there are, of which shape of botocore's
model each is, which are required and which cannot change without a replacement; what is left to write is the calls.
"""

from collections.abc import Mapping
from functools import cache

from stepbridge.cloudformation.resources.base import ResourceType


@cache
def resource_types() -> Mapping[str, type[ResourceType]]:
    """The supported types by name."""
    from stepbridge.cloudformation.resources import (
        dynamodb,
        events,
        iam,
        iot,
        lambda_,
        lambda_code_signing,
        lambda_policies,
        lambda_urls,
        lambda_versions,
        logs,
        s3,
        secrets,
        sns,
        sqs,
        stepfunctions,
    )

    modules = (
        dynamodb, events, iam, iot, lambda_, lambda_code_signing, lambda_policies, lambda_urls, lambda_versions, logs,
        s3, secrets, sns, sqs, stepfunctions,
    )  # fmt: skip
    return {resource_type.type_name: resource_type for module in modules for resource_type in module.TYPES}
