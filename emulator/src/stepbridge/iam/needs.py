"""Which actions on which resources an operation takes.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
An operation's action bears its name, but for the few in `_ACTIONS`.  The resource follows from the members of the
request; where this module does not know how, it is None, and only the action is checked.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.model import OperationModel

ANY = "*"  # what an operation that is about no resource needs

# What actions begin with, where it is not the name of the model.
_PREFIXES = {"stepfunctions": "states", "iot-data": "iot", "ce": "ce", "elbv2": "elasticloadbalancing"}

_ACTIONS = {
    ("lambda", "Invoke"): "InvokeFunction",
    ("lambda", "InvokeAsync"): "InvokeFunction",
    ("lambda", "InvokeWithResponseStream"): "InvokeFunction",
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
    ("sns", "PublishBatch"): "Publish",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "ListObjectVersions"): "ListBucketVersions",
    ("s3", "ListBuckets"): "ListAllMyBuckets",
    ("s3", "ListMultipartUploads"): "ListBucketMultipartUploads",
    ("s3", "ListParts"): "ListMultipartUploadParts",
    ("s3", "CreateMultipartUpload"): "PutObject",
    ("s3", "UploadPart"): "PutObject",
    ("s3", "UploadPartCopy"): "PutObject",
    ("s3", "CompleteMultipartUpload"): "PutObject",
    ("s3", "CopyObject"): "PutObject",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("s3", "SelectObjectContent"): "GetObject",
    ("s3", "GetBucketEncryption"): "GetEncryptionConfiguration",
    ("s3", "PutBucketEncryption"): "PutEncryptionConfiguration",
    ("s3", "DeleteBucketEncryption"): "PutEncryptionConfiguration",
    ("s3", "GetBucketLifecycleConfiguration"): "GetLifecycleConfiguration",
    ("s3", "PutBucketLifecycleConfiguration"): "PutLifecycleConfiguration",
    ("s3", "DeleteBucketLifecycle"): "PutLifecycleConfiguration",
    ("s3", "GetBucketNotificationConfiguration"): "GetBucketNotification",
    ("s3", "PutBucketNotificationConfiguration"): "PutBucketNotification",
    ("s3", "GetPublicAccessBlock"): "GetBucketPublicAccessBlock",
    ("s3", "PutPublicAccessBlock"): "PutBucketPublicAccessBlock",
}

# Operations that no policy can refuse.
_FREE = frozenset({("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")})

# Operations that hand roles to a service, which then acts in them, and the services.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
_PASSING = {
    ("events", "PutRule"): "events.amazonaws.com",
    ("events", "PutTargets"): "events.amazonaws.com",
    ("iot", "CreateTopicRule"): "iot.amazonaws.com",
    ("iot", "ReplaceTopicRule"): "iot.amazonaws.com",
    ("lambda", "CreateFunction"): "lambda.amazonaws.com",
    ("lambda", "UpdateFunctionConfiguration"): "lambda.amazonaws.com",
    ("scheduler", "CreateSchedule"): "scheduler.amazonaws.com",
    ("scheduler", "UpdateSchedule"): "scheduler.amazonaws.com",
    ("stepfunctions", "CreateStateMachine"): "states.amazonaws.com",
    ("stepfunctions", "TestState"): "states.amazonaws.com",
    ("stepfunctions", "UpdateStateMachine"): "states.amazonaws.com",
}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
_S3_KEYS = {"Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys", "Prefix": "s3:prefix", "VersionId": "s3:VersionId"}
_ROLE_MEMBERS = frozenset({"Role", "RoleArn", "roleArn"})

_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


@dataclass(frozen=True, slots=True)
class Need:
    """One action on one resource, an ARN or `*`; None if the resource is not known.

    `facts` are condition keys of this action, with their values.
    """

    action: str
    resource: str | None
    facts: tuple[tuple[str, str], ...] = ()


class Lookup(Protocol):
    """Resources whose ARNs do not follow from the request alone."""

    async def secret(self, name: str) -> str | None:
        """The ARN of the secret `name`, which ends in random characters."""
        ...

    def task_token(self, token: str) -> str | None:
        """The ARN of the state machine or activity that issued a task token."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the resources are."""

    account: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource here."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


Members = Mapping[str, Any]


async def needs_of(operation: OperationModel, members: Members, place: Place, lookup: Lookup) -> list[Need]:
    """All that whoever calls `operation` with `members` must be allowed."""
    service, name = operation.service_model.service_name, operation.name
    if (service, name) in _FREE:
        return []
    if service == "dynamodb" and name in ("TransactWriteItems", "TransactGetItems"):
        return list(_transaction(members, place))
    action = action_of(service, name)
    if service == "secretsmanager":
        return [Need(action, await _secret(members, place, lookup))]
    if service == "stepfunctions" and "taskToken" in members:
        return [Need(action, lookup.task_token(members["taskToken"]))]
    resources = _RESOURCES.get(service)
    found = list(resources(name, members, place)) if resources is not None else [None]
    facts = tuple((key, str(members[name])) for name, key in _S3_KEYS.items() if service == "s3" and name in members)
    needs = [Need(action, resource, facts) for resource in found]
    if (receiver := _PASSING.get((service, name))) is not None:
        passed = dict.fromkeys(_roles(members))
        needs += [Need("iam:PassRole", role, (("iam:PassedToService", receiver),)) for role in passed]
    if service == "iot-data" and members.get("retain"):
        needs += [Need("iot:RetainPublish", resource) for resource in found]
    if service == "s3" and "CopySource" in members:
        source = members["CopySource"]
        path = source if isinstance(source, str) else f"{source['Bucket']}/{source['Key']}"
        needs.insert(0, Need("s3:GetObject", f"arn:aws:s3:::{path.partition('?')[0].removeprefix('/')}"))
    return needs


def action_of(service: str, operation: str) -> str:
    """The action that an operation of the model `service` is, but for what it does beside that."""
    return f"{_PREFIXES.get(service, service)}:{_ACTIONS.get((service, operation), operation)}"


def _roles(value: Any) -> Iterator[str]:
    """The ARNs of roles in the members of a request, however deep."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name in _ROLE_MEMBERS and isinstance(member, str):
                yield member
            else:
                yield from _roles(member)
    elif isinstance(value, list):
        for member in value:
            yield from _roles(member)


def _sqs(name: str, members: Members, place: Place) -> Iterator[str | None]:
    queue = members.get("QueueUrl", "").rpartition("/")[2] or members.get("QueueName")
    yield place.arn("sqs", queue) if queue else ANY


def _sns(name: str, members: Members, place: Place) -> Iterator[str | None]:
    if "PhoneNumber" in members:
        yield ANY
    elif topic := members.get("TopicArn") or members.get("TargetArn") or members.get("ResourceArn"):
        yield topic
    elif "SubscriptionArn" in members:
        yield members["SubscriptionArn"].rpartition(":")[0]
    elif "Name" in members:
        yield place.arn("sns", members["Name"])
    else:
        yield ANY


def _s3(name: str, members: Members, place: Place) -> Iterator[str | None]:
    if "Bucket" not in members:
        yield ANY
        return
    bucket = f"arn:aws:s3:::{members['Bucket']}"
    if name == "DeleteObjects":
        yield from (f"{bucket}/{item['Key']}" for item in members.get("Delete", {}).get("Objects", []))
    else:
        yield f"{bucket}/{members['Key']}" if "Key" in members else bucket


def _dynamodb(name: str, members: Members, place: Place) -> Iterator[str | None]:
    for table in members.get("RequestItems", {}):
        yield _table(table, place)
    if "TableName" in members:
        index = f"/index/{members['IndexName']}" if "IndexName" in members else ""
        yield _table(members["TableName"], place) + index
    elif "RequestItems" not in members:
        yield ANY if name.startswith(("ListTables", "Describe")) else members.get("ResourceArn")


def _transaction(members: Members, place: Place) -> Iterator[Need]:
    for item in members.get("TransactItems", []):
        for kind, part in item.items():
            yield Need(f"dynamodb:{_TRANSACTED.get(kind, 'GetItem')}", _table(part.get("TableName", ""), place))


def _table(table: str, place: Place) -> str:
    return table if table.startswith("arn:") else place.arn("dynamodb", f"table/{table}")


async def _secret(members: Members, place: Place, lookup: Lookup) -> str | None:
    name = members.get("SecretId")
    if name is None:
        return place.arn("secretsmanager", f"secret:{members['Name']}") if "Name" in members else ANY
    if name.startswith("arn:"):
        return str(name)
    return await lookup.secret(name) or place.arn("secretsmanager", f"secret:{name}")


def _logs(name: str, members: Members, place: Place) -> Iterator[str | None]:
    identifier = members.get("logGroupIdentifier") or members.get("resourceArn") or ""
    group = members.get("logGroupName") or members.get("logGroupNamePrefix") or identifier
    if group.startswith("arn:"):
        group = group.split(":")[6]
    # Whatever the action is about, a log stream is in the ARN it is checked with, if only an empty one.
    yield place.arn("logs", f"log-group:{group}:log-stream:{members.get('logStreamName', '')}")


def _events(name: str, members: Members, place: Place) -> Iterator[str | None]:
    if name == "PutEvents":
        for bus in dict.fromkeys(entry.get("EventBusName", "default") for entry in members.get("Entries", [])):
            yield bus if bus.startswith("arn:") else place.arn("events", f"event-bus/{bus}")
    elif "Rule" in name or "Targets" in name:
        bus = members.get("EventBusName", "default").rpartition("/")[2]
        rule = members.get("Rule") or members.get("Name") or members.get("NamePrefix") or ""
        yield place.arn("events", f"rule/{rule}" if bus == "default" else f"rule/{bus}/{rule}")
    else:
        yield None


def _kinesis(name: str, members: Members, place: Place) -> Iterator[str | None]:
    yield members.get("StreamARN") or (
        place.arn("kinesis", f"stream/{members['StreamName']}") if "StreamName" in members else ANY
    )


def _firehose(name: str, members: Members, place: Place) -> Iterator[str | None]:
    stream = members.get("DeliveryStreamName")
    yield place.arn("firehose", f"deliverystream/{stream}") if stream else ANY


def _ssm(name: str, members: Members, place: Place) -> Iterator[str | None]:
    names = [members[key] for key in ("Name", "Path") if key in members] + members.get("Names", [])
    for parameter in names:
        yield parameter if parameter.startswith("arn:") else place.arn("ssm", f"parameter/{parameter.lstrip('/')}")
    if not names:
        yield None


def _kms(name: str, members: Members, place: Place) -> Iterator[str | None]:
    key = members.get("KeyId", "")
    if not key:
        yield ANY
    elif key.startswith("arn:aws:kms") and ":key/" in key:
        yield key
    else:  # an alias stands for a key that the request does not name
        yield None if "alias/" in key else place.arn("kms", f"key/{key}")


def _cloudwatch(name: str, members: Members, place: Place) -> Iterator[str | None]:
    if "AlarmName" in members:
        yield place.arn("cloudwatch", f"alarm:{members['AlarmName']}")
    else:
        yield ANY if name in ("PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics") else None


_LAMBDA_ARNS = ("CodeSigningConfigArn", "Resource", "ResourceArn")
_LAMBDA_ANY = frozenset(
    {"CreateCodeSigningConfig", "GetAccountSettings", "ListCodeSigningConfigs", "ListFunctions", "ListLayers"}
)


def _lambda(name: str, members: Members, place: Place) -> Iterator[str | None]:
    function = members.get("FunctionName")
    if function is None:
        named = next((members[name] for name in _LAMBDA_ARNS if name in members), None)
        yield ANY if name in _LAMBDA_ANY else named
        return
    # A name, a partial ARN, or an ARN; each perhaps with a qualifier.
    rest = function.rpartition("function:")[2]
    if rest == function and function.count(":") and function.partition(":")[0].isdigit():
        rest = function.partition(":")[2]
    qualifier = members.get("Qualifier")
    yield place.arn("lambda", f"function:{rest}" + (f":{qualifier}" if qualifier and ":" not in rest else ""))


def _stepfunctions(name: str, members: Members, place: Place) -> Iterator[str | None]:
    if name in ("ListStateMachines", "ListActivities", "ValidateStateMachineDefinition", "TestState"):
        yield ANY
    elif name == "CreateStateMachine":
        yield place.arn("states", f"stateMachine:{members.get('name', '')}")
    elif name == "CreateActivity":
        yield place.arn("states", f"activity:{members.get('name', '')}")
    else:
        arns = ("executionArn", "stateMachineArn", "activityArn", "mapRunArn", "stateMachineVersionArn")
        names = (*arns, "stateMachineAliasArn", "resourceArn")
        yield next((members[member] for member in names if member in members), None)


def _iot_data(name: str, members: Members, place: Place) -> Iterator[str | None]:
    for member, kind in (("topic", "topic"), ("thingName", "thing"), ("clientId", "client")):
        if member in members:
            yield place.arn("iot", f"{kind}/{members[member]}")
            return
    yield ANY


_IOT_KINDS = {
    "thingName": "thing",
    "thingGroupName": "thinggroup",
    "thingTypeName": "thingtype",
    "policyName": "policy",
    "certificateId": "cert",
    "ruleName": "rule",
}


def _iot(name: str, members: Members, place: Place) -> Iterator[str | None]:
    named = [member for member in _IOT_KINDS if member in members]
    if name.startswith(("List", "DescribeEndpoint")) and not named:
        yield ANY
    elif len(named) == 1 and "target" not in members and "principal" not in members:
        yield place.arn("iot", f"{_IOT_KINDS[named[0]]}/{members[named[0]]}")
    else:
        yield None


def _sts(name: str, members: Members, place: Place) -> Iterator[str | None]:
    yield members.get("RoleArn", ANY)


def _scheduler(name: str, members: Members, place: Place) -> Iterator[str | None]:
    group = members.get("GroupName", "default")
    yield place.arn("scheduler", f"schedule/{group}/{members['Name']}") if "Name" in members else None


def _iam(name: str, members: Members, place: Place) -> Iterator[str | None]:
    for member, kind in (("RoleName", "role"), ("UserName", "user"), ("GroupName", "group")):
        if member in members:
            yield f"arn:aws:iam::{place.account}:{kind}/{members[member]}"
            return
    yield members.get("PolicyArn") or (ANY if name.startswith("List") else None)


_RESOURCES: dict[str, Callable[[str, Members, Place], Iterator[str | None]]] = {
    "cloudwatch": _cloudwatch,
    "dynamodb": _dynamodb,
    "events": _events,
    "firehose": _firehose,
    "iam": _iam,
    "iot": _iot,
    "iot-data": _iot_data,
    "kinesis": _kinesis,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "s3": _s3,
    "scheduler": _scheduler,
    "sns": _sns,
    "sqs": _sqs,
    "ssm": _ssm,
    "stepfunctions": _stepfunctions,
    "sts": _sts,
}
