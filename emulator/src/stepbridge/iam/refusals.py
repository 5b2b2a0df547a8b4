"""AccessDenied, in the words and with the code of each service.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html (the format of the messages)
"""

from botocore.model import ServiceModel

from stepbridge.api.errors import AwsError
from stepbridge.authorization import Outcome, Verdict

# Where it is not AccessDenied for query and XML protocols and AccessDeniedException for JSON.
_CODES = {"sns": "AuthorizationError", "sqs": "AccessDenied", "cloudwatch": "AccessDenied"}


def access_denied(
    service: ServiceModel, who: str, action: str, resource: str | None, verdict: Verdict, *, boundary: bool
) -> AwsError:
    """What the service answers to `who` (an ARN) for `action`.

    `resource` is None where it is not known; `boundary` says that it is the permissions boundary that refused.
    """
    policy = "permissions boundary" if boundary else "identity-based policy"
    shown = _shown(service.service_name, action)
    why = f"because no {policy} allows the {shown} action"
    if verdict.outcome is Outcome.EXPLICIT_DENY:
        why = f"with an explicit deny in {'a' if boundary else 'an'} {policy}"
    where = "" if resource is None else f" on resource: {_quoted(service.service_name, resource)}"
    message = f"User: {who} is not authorized to perform: {shown}{where} {why}"
    in_json = service.metadata["protocol"] in ("json", "rest-json")
    code = _CODES.get(service.service_name, "AccessDeniedException" if in_json else "AccessDenied")
    return AwsError(code, message, status=400 if code == "AccessDeniedException" and _is_rpc(service) else 403)


def _is_rpc(service: ServiceModel) -> bool:
    return bool(service.metadata["protocol"] == "json")


def _shown(service: str, action: str) -> str:
    """The action as the service writes it in its messages."""
    if service == "sqs":
        return action.lower()
    if service == "sns":
        return f"SNS:{action.partition(':')[2]}"
    return action


def _quoted(service: str, resource: str) -> str:
    return f'"{resource}"' if service == "s3" else resource
