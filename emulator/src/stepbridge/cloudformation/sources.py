"""Where a request's template and parameter values come from."""

import urllib.parse
from collections.abc import Mapping
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.cloudformation.parameters import as_text, ssm_name_is_value
from stepbridge.cloudformation.resources.base import AwsCalls, read_object
from stepbridge.cloudformation.template import Template


def validation_error(message: str) -> AwsError:
    """The error that CloudFormation answers nearly every unacceptable request with."""
    return AwsError("ValidationError", message, status=400)


def object_of_url(url: str) -> tuple[str, str]:
    """The bucket and key that a TemplateURL means.

    The host is the endpoint as the client sees it, so it is only looked at where the bucket stands in it: S3's own
    virtual-hosted style, `https://bucket.s3.region.amazonaws.com/key`.
    """
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path).lstrip("/")
    host = parts.hostname or ""
    if host.endswith(".amazonaws.com") and not host.startswith(("s3.", "s3-")):
        bucket, found, _ = host.rpartition(".s3")
        key = path
    else:
        bucket, found, key = path.partition("/")
    if parts.scheme not in {"http", "https", "s3"} or not (bucket and found and key):
        raise validation_error("TemplateURL must be a supported URL.")
    return bucket, key


async def template_text(calls: AwsCalls, request: Mapping[str, Any], previous: str | None) -> str:
    """The text of the template that a request names or carries.  Raises AwsError."""
    if request.get("UsePreviousTemplate"):
        if previous is None:
            raise validation_error("UsePreviousTemplate is not allowed when there is no previous template")
        return previous
    if ("TemplateBody" in request) == ("TemplateURL" in request):
        raise validation_error("Either Template URL or Template Body must be specified.")
    if "TemplateBody" in request:
        body: str = request["TemplateBody"]
        if len(body.encode()) > 51_200:
            raise validation_error(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have "
                "length less than or equal to 51200"
            )
        return body
    bucket, key = object_of_url(request["TemplateURL"])
    try:
        return (await read_object(calls, bucket, key)).decode()
    except AwsError as error:
        raise validation_error(f"S3 error: {error.message}") from None


def given_parameters(request: Mapping[str, Any], previous: Mapping[str, str], template: Template) -> dict[str, str]:
    """The parameter texts of a request; `previous` are those of the stack.  Raises AwsError."""
    given: dict[str, str] = {}
    for parameter in request.get("Parameters", []):
        name = parameter["ParameterKey"]
        if parameter.get("UsePreviousValue"):
            if "ParameterValue" in parameter:
                raise validation_error(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true and non empty "
                    "value for a parameter"
                )
            if name in previous:
                given[name] = previous[name]
            elif "Default" not in template.section("Parameters").get(name, {}):
                raise validation_error(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter "
                    "key not in the previous template"
                )
        else:
            given[name] = parameter.get("ParameterValue", "")
    return given


async def looked_up_parameters(calls: AwsCalls, template: Template, given: Mapping[str, str]) -> dict[str, str]:
    """The values of the parameters whose text is only the name of an SSM parameter.

    Raises AwsError where there is no such parameter, or it is one that CloudFormation does not read.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-supplied-parameter-types.html
    """
    found = {}
    for name, declaration in template.section("Parameters").items():
        declared = str(declaration.get("Type", "")) if isinstance(declaration, dict) else ""
        if not ssm_name_is_value(declared) and declared != "AWS::SSM::Parameter::Name":
            continue
        text = given.get(name, as_text(declaration.get("Default", "")))
        try:
            parameter = (await calls.call("ssm", "GetParameter", Name=text))["Parameter"]
        except AwsError:
            raise validation_error(
                f"Unable to fetch parameters [{text}] from parameter store for this account."
            ) from None
        if not ssm_name_is_value(declared):  # it only has to be there
            continue
        if parameter["Type"] == "SecureString":
            raise validation_error(
                f"Parameters [{text}] referenced by template have types not supported by CloudFormation."
            )
        found[name] = parameter["Value"]
    return found
