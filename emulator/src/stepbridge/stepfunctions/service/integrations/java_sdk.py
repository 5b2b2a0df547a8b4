"""How the AWS SDKs for Java name services and exceptions: those names are what a workflow catches.

Step Functions calls services by version 1 of the SDK in its own integrations and by version 2 in `aws-sdk:` ones. Both
make their names of those in the service's model, each by rules of its own:
https://github.com/aws/aws-sdk-java-v2/tree/master/codegen, DefaultNamingStrategy and CodegenNamingUtils.
"""

import re


def service_name(service_id: str) -> str:
    """The name that version 2 makes of a model's service id: `SFN` → `Sfn`, `DynamoDB` → `DynamoDb`, `IoT` → `Iot`."""
    return _pascal_case(service_id)


def exception_1(error: str) -> str:
    """The exception that version 1 throws for the model's `error`."""
    return error[:1].upper() + error[1:].removesuffix("Exception").removesuffix("Fault") + "Exception"


def exception_2(error: str) -> str:
    """The exception that version 2 throws: `DBInstanceNotFoundFault` → `DbInstanceNotFoundException`."""
    return _pascal_case(exception_1(error))


def _pascal_case(text: str) -> str:
    """`text` in words of one capital each."""
    text = re.sub(r"[^A-Za-z0-9]+", " ", text)
    text = re.sub(r"([^a-z]{2,})v([0-9]+)", r"\1 v\2 ", text)  # a version: SESv2
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-zA-Z0-9])", " ", text)  # but IoT is one word
    text = re.sub(r"([A-Z]+)([A-Z])([a-z])", r"\1 \2\3", text)
    text = re.sub(r"([0-9])([a-zA-Z])", r"\1 \2", text)
    return "".join(word.capitalize() for word in text.split())
