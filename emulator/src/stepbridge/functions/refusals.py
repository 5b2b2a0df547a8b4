"""The errors of the Lambda API that several operations answer with."""

from stepbridge.api.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, members={"Type": "User"})


def conflict(message: str) -> AwsError:
    return AwsError("ResourceConflictException", message, members={"Type": "User"})


def not_found(message: str = "The resource you requested does not exist.") -> AwsError:
    return AwsError("ResourceNotFoundException", message, members={"Type": "User"})


def revision_differs() -> AwsError:
    return AwsError(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
        "retrieve the latest Revision Id",
        members={"Type": "User"},
    )


def validation_error(value: object, member: str, constraint: str) -> AwsError:
    """As the front of AWS's services refuses a value that does not fit the model."""
    return AwsError(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}",
        status=400,
    )
