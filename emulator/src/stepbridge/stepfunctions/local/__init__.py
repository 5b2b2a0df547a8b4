"""Standing in for AWS Step Functions Local: its port, the environment that configures it, its mocked test cases.

https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local.html
"""

from stepbridge.stepfunctions.local.mock_configuration import MockConfiguration, MockedResponse
from stepbridge.stepfunctions.local.options import PORT, LocalOptions

__all__ = ["PORT", "LocalOptions", "MockConfiguration", "MockedResponse"]
