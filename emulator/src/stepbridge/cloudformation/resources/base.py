"""What every resource type is made of."""

import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, ClassVar, Protocol

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.cloudformation.errors import ResourceError
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.resources.shapes import KNOWN_AFTER_APPLY, problems, shape_at, to_api
from stepbridge.cloudformation.responses import Responses

Properties = Mapping[str, Any]

_UPPER = string.ascii_uppercase + string.digits
_MIXED = string.ascii_letters + string.digits


class AwsCalls(Protocol):
    """The emulator's own APIs, called from inside."""

    async def call(self, service: str, operation: str, **members: Any) -> dict[str, Any]:
        """Carry out an operation, both named as in botocore's models.  Raises AwsError as the service does."""
        ...


class Kind(Enum):
    """What a property's value is, where it is not simply of the shape of an API's member."""

    SHAPE = auto()
    JSON = auto()  # an object, or the text of one
    TAGS = auto()  # a list of Key and Value
    TAG_MAP = auto()  # an object of tags
    TEXT = auto()
    FREE = auto()  # checked by the type itself


@dataclass(frozen=True, slots=True)
class Property:
    """A property: `shape` is where in the service's model its type stands, as `Operation.member`.

    `replace` properties cannot change on an existing resource: a change makes a new one.
    """

    shape: str = ""
    kind: Kind = Kind.SHAPE
    required: bool = False
    replace: bool = False


def shaped(operation: str, *names: str, required: bool = False, replace: bool = False) -> dict[str, Property]:
    """Properties that are members of an operation's request; `PropertyName=memberName` where the names differ."""
    result = {}
    for name in names:
        property_name, _, member = name.partition("=")
        result[property_name] = Property(f"{operation}.{member or property_name}", required=required, replace=replace)
    return result


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack that a resource is part of, as far as a resource needs to know it."""

    name: str
    stack_id: str
    account: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something in the stack's account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists: `physical_id` is what `Ref` gives, `attributes` what `Fn::GetAtt` gives.

    The attributes of a `secret` one are not shown in events.
    """

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Means:
    """What resources are made with: the emulator's APIs, its clock, and the answers of custom resources."""

    calls: AwsCalls
    clock: Clock
    responses: Responses


class ResourceType(ABC):
    """One resource of a stack, of one type.

    `declared_type` is the type in the template, which for a custom resource may be of the user's invention.
    """

    type_name: ClassVar[str]
    service: ClassVar[str]  # whose model the shapes of the properties are in
    properties: ClassVar[Mapping[str, Property]]
    attributes: ClassVar[frozenset[str]] = frozenset()  # for Fn::GetAtt
    unsupported: ClassVar[frozenset[str]] = frozenset()  # properties that AWS has beside these

    def __init__(self, stack: Stack, logical_id: str, declared_type: str, means: Means) -> None:
        self.stack = stack
        self.logical_id = logical_id
        self.declared_type = declared_type
        self.calls = means.calls
        self.clock = means.clock
        self.responses = means.responses

    @abstractmethod
    async def create(self, properties: Properties) -> Made:
        """Make the resource.  Raises AwsError or ResourceError, leaving nothing behind (but see ProviderError)."""

    async def stabilize(self, made: Made, properties: Properties) -> None:  # noqa: B027 - most are usable at once
        """Wait until the resource, which has just been made, can be used.

        Called again after a restart, so that what takes long belongs here and not into :meth:`create`.  Raises AwsError
        or ResourceError; the resource is then deleted as any other of the stack.
        https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract.html
        """

    @abstractmethod
    async def update(self, made: Made, old: Properties, new: Properties) -> Made:
        """Change the resource from `old` to `new`, which differ in no property that needs a replacement.

        Answers another physical id if a new resource came of it; the old one is then to be deleted.
        """

    @abstractmethod
    async def delete(self, made: Made, properties: Properties) -> None:
        """Remove the resource.  An error that says there is none is ignored by the caller."""

    @classmethod
    def has_attribute(cls, name: str) -> bool:
        """Whether `Fn::GetAtt` knows `name`."""
        return name in cls.attributes

    @classmethod
    def with_stack_tags(cls, properties: Properties, tags: Mapping[str, str]) -> dict[str, Any]:
        """The properties with the stack's tags, where the resource can have tags and has none of the same key."""
        kind = cls.properties["Tags"].kind if "Tags" in cls.properties else None
        if not tags or kind not in {Kind.TAGS, Kind.TAG_MAP}:
            return dict(properties)
        if kind is Kind.TAG_MAP:
            return {**properties, "Tags": {**tags, **properties.get("Tags", {})}}
        own = properties.get("Tags", [])
        keys = {tag["Key"] for tag in own}
        added = [{"Key": key, "Value": value} for key, value in tags.items() if key not in keys]
        return {**properties, "Tags": [*own, *added]}

    @classmethod
    def check(cls, properties: Properties) -> Iterator[str]:
        """What is wrong with the properties, each problem as `#/Path: …`, as CloudFormation's schemas tell it."""
        for name in properties:
            if name in cls.unsupported:
                yield f"#/{name}: is not supported by stepbridge"
            elif name not in cls.properties:
                yield f"#: extraneous key [{name}] is not permitted"
        for name, declared in cls.properties.items():
            if name not in properties:
                if declared.required:
                    yield f"#: required key [{name}] not found"
            else:
                yield from cls._check_property(f"#/{name}", declared, properties[name])

    @classmethod
    def _check_property(cls, path: str, declared: Property, value: Any) -> Iterator[str]:
        if value == KNOWN_AFTER_APPLY or declared.kind is Kind.FREE:
            return
        if declared.kind is Kind.SHAPE:
            yield from problems(shape_at(cls.service, declared.shape), value, path)
        elif declared.kind is Kind.TEXT and isinstance(value, (dict, list)):
            yield f"{path}: expected type: String, found: {'JSONObject' if isinstance(value, dict) else 'JSONArray'}"
        elif (declared.kind is Kind.JSON and not isinstance(value, (dict, str))) or (
            declared.kind is Kind.TAG_MAP and not isinstance(value, dict)
        ):
            yield f"{path}: expected type: JSONObject, found: {type(value).__name__}"
        elif declared.kind is Kind.TAGS:
            if not isinstance(value, list):
                yield f"{path}: expected type: JSONArray, found: {type(value).__name__}"
                return
            for index, tag in enumerate(value):
                if not isinstance(tag, dict) or set(tag) != {"Key", "Value"}:
                    yield f"{path}/{index}: a tag has the keys [Key] and [Value]"

    @classmethod
    def needs_replacement(cls, old: Properties, new: Properties) -> bool:
        """Whether the change from `old` to `new` takes a new resource."""
        return any(declared.replace and old.get(name) != new.get(name) for name, declared in cls.properties.items())

    def members(self, properties: Properties, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The request members that the given properties of kind SHAPE stand for."""
        result = {}
        for name, value in properties.items():
            declared = self.properties[name]
            if declared.kind is Kind.SHAPE and name not in without:
                result[declared.shape.rpartition(".")[2]] = to_api(shape_at(self.service, declared.shape), value)
        return result

    def tags(self, properties: Properties) -> dict[str, str]:
        """The tags of the resource; those of its stack are already among them."""
        tags = properties.get("Tags", {})
        if isinstance(tags, list):
            tags = {tag["Key"]: tag["Value"] for tag in tags}
        return {key: as_text(value) for key, value in tags.items()}

    def provenance(self) -> dict[str, str]:
        """The tags that CloudFormation puts on what it makes."""
        return {
            "aws:cloudformation:stack-name": self.stack.name,
            "aws:cloudformation:stack-id": self.stack.stack_id,
            "aws:cloudformation:logical-id": self.logical_id,
        }

    def tag_list(self, properties: Properties, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        """The tags as a list of pairs."""
        return [{key: name, value: text} for name, text in self.tags(properties).items()]

    def generated_name(self, maximum: int, *, lower: bool = False, separator: str = "-") -> str:
        """A name as CloudFormation makes them: stack, logical id, random characters; at most `maximum` long."""
        random = "".join(secrets.choice(_UPPER if lower else _MIXED) for _ in range(12))
        room = maximum - len(random) - 2
        logical_id = self.logical_id[: max(room // 2, room - len(self.stack.name))]
        name = separator.join([self.stack.name[: room - len(logical_id)].rstrip("-"), logical_id, random])
        return name.lower() if lower else name

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        """An operation of the type's own service."""
        return await self.calls.call(self.service, operation, **members)

    async def call_unless_gone(self, operation: str, **members: Any) -> None:
        """An operation that takes something away, which may be away already: with its holder, by a failed update."""
        try:
            await self.call(operation, **members)
        except AwsError as error:
            if not is_not_found(error):
                raise

    async def refuse_taken(self, name: str, operation: str, **members: Any) -> None:
        """Raise ResourceError if `operation`, which describes a resource by a name of the template's, finds one.

        For services that answer the creation of what is there already with success: the stack would own, and one day
        delete, what is not its own.
        """
        try:
            await self.call(operation, **members)
        except AwsError:
            return
        raise ResourceError(
            f"Resource handler returned message: \"Resource of type '{self.type_name}' with identifier '{name}' "
            'already exists." (HandlerErrorCode: AlreadyExists)'
        )


def is_not_found(error: AwsError) -> bool:
    """Whether an error says that the thing is not there: then deleting it is done."""
    return any(word in error.code for word in ("NotFound", "NoSuch", "NonExistent", "DoesNotExist"))


async def read_object(calls: AwsCalls, bucket: str, key: str, version: str | None = None) -> bytes:
    """The content of an object in the emulator's S3.  Raises AwsError if there is none."""
    versioned = {"VersionId": version} if version else {}
    body = (await calls.call("s3", "GetObject", Bucket=bucket, Key=key, **versioned))["Body"]
    content: bytes = body if isinstance(body, bytes) else body.read()
    return content
