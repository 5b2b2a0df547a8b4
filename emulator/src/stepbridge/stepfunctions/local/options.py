"""The options of Step Functions Local, from its environment variables.

https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-config-options.html
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stepbridge.stepfunctions.local.mock_configuration import MockConfiguration

PORT = 8083
MOCK_CONFIGURATION = "SFN_MOCK_CONFIG"

# STEP_FUNCTIONS_ENDPOINT, where tasks are to start executions, is not among them: they are started here.
_ENDPOINTS = {
    "LAMBDA_ENDPOINT": "lambda",
    "BATCH_ENDPOINT": "batch",
    "DYNAMODB_ENDPOINT": "dynamodb",
    "ECS_ENDPOINT": "ecs",
    "GLUE_ENDPOINT": "glue",
    "SAGE_MAKER_ENDPOINT": "sagemaker",
    "SQS_ENDPOINT": "sqs",
    "SNS_ENDPOINT": "sns",
}
_URL = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?")


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """`endpoints` are the URLs that services are called at, by their botocore names; all others are the emulator's own.

    `wait_time_scale` is what the time of a Wait state is multiplied by.
    """

    wait_time_scale: float = 1.0
    endpoints: Mapping[str, str] = field(default_factory=dict)
    mocks: MockConfiguration = field(default_factory=lambda: MockConfiguration({}))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "LocalOptions":
        """Read them.  Raises ValueError, which names the variable and what is wrong with it."""
        endpoints = {}
        for variable, service in _ENDPOINTS.items():
            if url := environment.get(variable):
                if not _URL.fullmatch(url):
                    raise ValueError(f"{variable} is not a URL: {url}")
                endpoints[service] = url
        return cls(_scale(environment.get("WAIT_TIME_SCALE")), endpoints, _mocks(environment.get(MOCK_CONFIGURATION)))


def _scale(text: str | None) -> float:
    if not text:
        return 1.0
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 <= scale < math.inf:
        raise ValueError(f"WAIT_TIME_SCALE must be a number that is not negative, not {text}")
    return scale


def _mocks(path: str | None) -> MockConfiguration:
    if not path:
        return MockConfiguration({})
    try:
        return MockConfiguration.parse(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{MOCK_CONFIGURATION} names {path}, which cannot be read: {error}") from None
    except ValueError as error:
        raise ValueError(f"{MOCK_CONFIGURATION} names {path}, in which there is a mistake: {error}") from None
