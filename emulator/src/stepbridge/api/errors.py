"""The errors that a caller of an AWS API gets."""

from collections.abc import Mapping

# The member with the modelled name of an error whose code is that of the query protocol which the service spoke before:
# https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait
QUERY_ERROR_CODE = "QueryErrorCode"


class AwsError(Exception):
    """An error answer of an AWS service.

    `code` is the error's name as clients see it (`ResourceNotFoundException`), `status` the HTTP status where the
    service's model does not give one, `members` further members of the error's shape.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, members: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = dict(members or {})


class NoAnswerError(AwsError):
    """A service elsewhere cannot be reached, or broke the connection off before its answer was complete.

    It has refused nothing: this is what the AWS SDK for Java calls an SdkClientException.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("SdkClientException", f"Unable to execute HTTP request: {reason}", status=400)
