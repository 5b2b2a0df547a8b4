"""Why a template or a stack operation is refused."""


class TemplateError(Exception):
    """The template, or a value given for one of its parameters, is not acceptable.

    `message` is what the caller of the API reads, in CloudFormation's own words where it has any.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ResourceError(Exception):
    """A resource could not be created, updated or deleted; `message` becomes the reason in the stack's events."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ProviderError(ResourceError):
    """The provider of a custom resource did not say that it was created; there may be something nevertheless.

    `physical_id` is what it is called in the request to delete it.
    """

    def __init__(self, message: str, physical_id: str) -> None:
        super().__init__(message)
        self.physical_id = physical_id
