"""The ways to name a function.  https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (Name formats)"""

import re
from dataclasses import dataclass

from stepbridge.api.errors import AwsError

LATEST = "$LATEST"

_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z]+(?:-[a-z]+)+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function as a request names it: `qualifier` is a version, an alias, or None if it names neither."""

    account: str
    region: str
    name: str
    qualifier: str | None = None

    @property
    def arn(self) -> str:
        """With the qualifier, if there is one."""
        arn = f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"
        return f"{arn}:{self.qualifier}" if self.qualifier else arn

    @property
    def unqualified_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"


def parse_function_name(text: str, *, account: str, region: str, qualifier: str | None = None) -> FunctionName:
    """The function that `text` (name, partial ARN or ARN, each with or without qualifier) and `qualifier` name.

    Raises InvalidParameterValueException if the two name different qualifiers, ValidationException if `text` is no
    name, ResourceNotFoundException for another account or region: there is only one of each here.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?[a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?"
            "(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
            status=400,
        )
    own = match["qualifier"]
    if own and qualifier and own != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    name = FunctionName(match["account"] or account, match["region"] or region, match["name"], qualifier or own or None)
    if len(name.name) > 64:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{name.name}' at 'functionName' failed to satisfy constraint: Member "
            "must have length less than or equal to 64",
            status=400,
        )
    if name.account != account or name.region != region:
        raise function_not_found(name)
    return name


def function_not_found(name: FunctionName) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Function not found: {name.arn}", members={"Type": "User"})
