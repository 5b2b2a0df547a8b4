"""The environment and the mock configuration of Step Functions Local."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stepbridge.stepfunctions.local import LocalOptions, MockConfiguration, MockedResponse
from stepbridge.stepfunctions.local.mock_configuration import find

DOCUMENT: dict[str, Any] = {
    "StateMachines": {
        "LambdaSQSIntegration": {
            "TestCases": {
                "HappyPath": {"LambdaState": "MockedLambdaSuccess", "SQSState": "MockedSQSSuccess"},
                "RetryPath": {"LambdaState": "MockedLambdaRetry"},
            }
        }
    },
    "MockedResponses": {
        "MockedLambdaSuccess": {"0": {"Return": {"StatusCode": 200, "Payload": {"body": "Hello"}}}},
        "MockedSQSSuccess": {"0": {"Return": {"MessageId": "1"}}},
        "MockedLambdaRetry": {
            "0": {"Throw": {"Error": "Lambda.ResourceNotReadyException", "Cause": "not ready"}},
            "1-2": {"Throw": {"Error": "Lambda.TimeoutException", "Cause": "timed out"}},
            "3": {"Return": {"StatusCode": 200}},
        },
    },
}


def test_responses_are_found_by_the_number_of_the_call() -> None:
    cases = MockConfiguration.parse(json.dumps(DOCUMENT)).machines["LambdaSQSIntegration"]

    found = [find(cases["RetryPath"]["LambdaState"], number) for number in range(5)]

    late = MockedResponse(error="Lambda.TimeoutException", cause="timed out")
    assert found == [
        MockedResponse(error="Lambda.ResourceNotReadyException", cause="not ready"),
        late,
        late,
        MockedResponse(output={"StatusCode": 200}),
        None,
    ]
    assert cases["HappyPath"].keys() == {"LambdaState", "SQSState"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "not JSON: Expecting property name"),
        ("[]", "the file must be an object"),
        ('{"StateMachine": {}}', "/StateMachine is unknown"),
        ('{"StateMachines": {"m": {}}}', "/StateMachines/m/TestCases must be an object"),
        ('{"StateMachines": {"m": {"TestCases": {"c": {"s": "r"}}}}}', '/StateMachines/m/TestCases/c/s names "r"'),
        ('{"MockedResponses": {"r": {}}}', "/MockedResponses/r has no response"),
        ('{"MockedResponses": {"r": {"x": {"Return": 1}}}}', "/MockedResponses/r/x must be the number"),
        ('{"MockedResponses": {"r": {"2-1": {"Return": 1}}}}', "/MockedResponses/r/2-1 must be the number"),
        ('{"MockedResponses": {"r": {"0-1": {"Return": 1}, "1": {"Return": 1}}}}', "/MockedResponses/r/1 overlaps"),
        ('{"MockedResponses": {"r": {"0": {}}}}', "/MockedResponses/r/0 must have either Return or Throw"),
        ('{"MockedResponses": {"r": {"0": {"Throw": {}}}}}', "/MockedResponses/r/0/Throw must have an Error"),
        ('{"MockedResponses": {"r": {"0": {"Throw": {"Error": 1}}}}}', "/MockedResponses/r/0/Throw/Error must be"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ValueError, match=re.escape(place)):
        MockConfiguration.parse(text)


def test_options_come_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "MockConfigFile.json"
    file.write_text(json.dumps(DOCUMENT))

    options = LocalOptions.from_environment(
        {
            "LAMBDA_ENDPOINT": "http://host.docker.internal:3001/",
            "DYNAMODB_ENDPOINT": "http://localhost:8000",
            "SQS_ENDPOINT": "",
            "WAIT_TIME_SCALE": "0.1",
            "SFN_MOCK_CONFIG": str(file),
        }
    )

    assert options.endpoints == {"lambda": "http://host.docker.internal:3001/", "dynamodb": "http://localhost:8000"}
    assert options.wait_time_scale == 0.1
    assert options.mocks.machines.keys() == {"LambdaSQSIntegration"}


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"LAMBDA_ENDPOINT": "localhost"}, "LAMBDA_ENDPOINT is not a URL: localhost"),
        ({"WAIT_TIME_SCALE": "fast"}, "WAIT_TIME_SCALE must be a number"),
        ({"WAIT_TIME_SCALE": "-1"}, "WAIT_TIME_SCALE must be a number"),
        ({"SFN_MOCK_CONFIG": "/none/at/all.json"}, "SFN_MOCK_CONFIG names /none/at/all.json, which cannot be read"),
    ],
)
def test_a_wrong_option_is_refused_by_name(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        LocalOptions.from_environment(environment)
