"""What a Task state's Resource says."""

import re
from dataclasses import dataclass
from enum import StrEnum

_INTEGRATION = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):states:[^:]*:[^:]*:"
    r"(?P<name>(?:aws-sdk:)?[A-Za-z0-9-]+:[A-Za-z0-9]+)(?:\.(?P<pattern>sync:2|sync|waitForTaskToken))?"
)
_FUNCTION = re.compile(r"arn:aws[a-z-]*:lambda:[^:]+:\d{12}:function:[A-Za-z0-9-_]+(?::[A-Za-z0-9$_-]+)?")
_ACTIVITY = re.compile(r"arn:aws[a-z-]*:states:[^:]+:\d{12}:activity:[^:]+")


class Pattern(StrEnum):
    """How long a task waits.

    https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    """

    REQUEST_RESPONSE = ""
    SYNC = "sync"
    SYNC_2 = "sync:2"
    WAIT_FOR_TASK_TOKEN = "waitForTaskToken"  # noqa: S105 - the name of a pattern


@dataclass(frozen=True, slots=True)
class Resource:
    """A Resource taken apart.

    `name` is the integration's: `lambda:invoke`, `aws-sdk:s3:getObject`, or `function` and `activity` for the ARN of
    a Lambda function and of an activity.
    """

    text: str
    name: str
    pattern: Pattern = Pattern.REQUEST_RESPONSE

    @classmethod
    def parse(cls, text: str) -> "Resource | None":
        """Take `text` apart; None if it is no resource that a Task state can have."""
        if _FUNCTION.fullmatch(text):
            return cls(text, "function")
        if _ACTIVITY.fullmatch(text):
            return cls(text, "activity")
        if (match := _INTEGRATION.fullmatch(text)) is not None:
            return cls(text, match["name"], Pattern(match["pattern"] or ""))
        return None

    @property
    def is_sdk(self) -> bool:
        """Whether this is a call of the AWS SDK as it is, not an integration made for Step Functions."""
        return self.name.startswith("aws-sdk:")
