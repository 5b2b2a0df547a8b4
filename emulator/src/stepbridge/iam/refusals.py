"""AccessDenied, in the words and with the code of each service.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html (the format of the messages)
"""

from botocore.model import ServiceModel

from stepbridge.api.errors import AwsError
from stepbridge.iam.roles import Refusal

# Where it is not AccessDenied for query and XML protocols and AccessDeniedException for JSON.
_CODES = {"sns": "AuthorizationError", "sqs": "AccessDenied", "cloudwatch": "AccessDenied"}


def message(who: str, action: str, resource: str | None, refusal: Refusal) -> str:
    """What is wrong, for `who` (an ARN) and an action and resource as they are to be shown."""
    policy = "a permissions boundary" if refusal.boundary else "an identity-based policy"
    why = f"because no {policy.partition(' ')[2]} allows the {action} action"
    if refusal.explicit:
        why = f"with an explicit deny in {policy}"
    where = "" if resource is None else f" on resource: {resource}"
    return f"User: {who} is not authorized to perform: {action}{where} {why}"


def access_denied(service: ServiceModel, who: str, action: str, resource: str | None, refusal: Refusal) -> AwsError:
    """What the service answers to `who` (an ARN) for `action`; `resource` is None where it is not known."""
    name = service.service_name
    text = message(who, _shown(name, action), _quoted(name, resource), refusal)
    in_json = service.metadata["protocol"] in ("json", "rest-json")
    code = _CODES.get(name, "AccessDeniedException" if in_json else "AccessDenied")
    return AwsError(code, text, status=400 if code == "AccessDeniedException" and _is_rpc(service) else 403)


def _is_rpc(service: ServiceModel) -> bool:
    return bool(service.metadata["protocol"] == "json")


def _shown(service: str, action: str) -> str:
    """The action as the service writes it in its messages."""
    if service == "sqs":
        return action.lower()
    if service == "sns":
        return f"SNS:{action.partition(':')[2]}"
    return action


def _quoted(service: str, resource: str | None) -> str | None:
    return f'"{resource}"' if service == "s3" and resource is not None else resource
