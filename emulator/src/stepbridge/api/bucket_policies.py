"""Bucket policies, evaluated by our own evaluator where moto would leave out their conditions.

The bucket that `sam deploy --resolve-s3` makes denies everything on connections without TLS.  moto ignores the
condition and would deny everything.  The loopback stands for the TLS connection that a client of AWS has.
"""

from typing import Any

from stepbridge.authorization import (
    IAM_RESOURCE,
    Context,
    MalformedPolicyError,
    Outcome,
    Principal,
    Request,
    evaluate,
    parse_policy,
)

_CONTEXT = Context({"aws:SecureTransport": ("true",)})


def evaluate_conditions_of_bucket_policies(account: str) -> None:
    """Make moto's S3 ask our evaluator; whoever asks is the root of `account`."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    results = {
        Outcome.ALLOWED: PermissionResult.PERMITTED,
        Outcome.EXPLICIT_DENY: PermissionResult.DENIED,
        Outcome.IMPLICIT_DENY: PermissionResult.NEUTRAL,
    }
    owner = Principal("AWS", f"arn:aws:iam::{account}:root")

    def get_permission(bucket: Any, action: str, resource: str) -> Any:
        if bucket.policy is None:
            return PermissionResult.NEUTRAL
        try:
            policy = parse_policy(bucket.name, bucket.policy.decode(), IAM_RESOURCE)
        except MalformedPolicyError:  # moto took it; S3 would not have
            return PermissionResult.NEUTRAL
        return results[evaluate([policy], Request(action, resource, _CONTEXT, owner)).outcome]

    FakeBucket.get_permission = get_permission  # type: ignore[method-assign, assignment]
