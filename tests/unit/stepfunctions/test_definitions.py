"""What CreateStateMachine refuses, in AWS's words."""

import json
from typing import Any

import pytest

from stepbridge.stepfunctions import language
from stepbridge.stepfunctions.language import conditions
from stepbridge.stepfunctions.language.definition import Map, Parallel, Task
from stepbridge.stepfunctions.service.integrations import parameters

SCHEMA = "SCHEMA_VALIDATION_FAILED"
UNSUPPORTED = "UNSUPPORTED_JSONATA_EXPRESSION"
LAMBDA = "arn:aws:lambda:us-east-1:111111111111:function:f"


def one(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"StartAt": "S", "States": {"S": state, **more}}


def found(definition: Any, *, express: bool = False) -> list[tuple[str, str, str | None]]:
    text = definition if isinstance(definition, str) else json.dumps(definition)
    diagnostics = language.validate(text, express=express, check_parameters=parameters.problems)
    return [(entry.code, entry.message, entry.location) for entry in diagnostics]


OPERATORS = ", ".join((*conditions.OPERATORS, *conditions.PATH_OPERATORS, conditions.IS_PRESENT))
PASS = {"Type": "Pass", "End": True}
MAP = {
    "Type": "Map",
    "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "I",
        "States": {"I": PASS},
    },
    "End": True,
}

REFUSED: list[tuple[str, Any, list[tuple[str, str, str | None]]]] = [
    ("no terminal state", one({"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "Next": "S"}),
     [("MISSING_END_STATE", "Workflow has no terminal state", None)]),
    ("unreachable", one(PASS, C=PASS), [("MISSING_TRANSITION_TARGET", 'State "C" is not reachable.', "/States/C")]),
    ("dangling Next and nothing else", one({"Type": "Pass", "Next": "NOPE"}),
     [("MISSING_TRANSITION_TARGET", "Missing 'Next' target: NOPE", "/States/S/Next"),
      ("MISSING_END_STATE", "Workflow has no terminal state", None)]),
    ("dangling StartAt", {"StartAt": "X", "States": {"S": PASS}},
     [("MISSING_TRANSITION_TARGET", "Missing 'Next' target: X", "/StartAt"),
      ("MISSING_TRANSITION_TARGET", 'State "S" is not reachable.', "/States/S")]),
    ("dangling choice", one({"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "X"}],
                             "Default": "E"}, E={"Type": "Succeed"}),
     [("MISSING_TRANSITION_TARGET", "Missing 'Next' target: X", "/States/S/Choices[0]/Next")]),
    ("dangling catch", one({"Type": "Task", "Resource": LAMBDA, "End": True,
                            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "X"}]}),
     [("MISSING_TRANSITION_TARGET", "Missing 'Next' target: X", "/States/S/Catch[0]/Next")]),
    ("a target outside the branch", one({"Type": "Parallel", "End": True, "Branches": [
        {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "S"}, "B": PASS}}]}),
     [("MISSING_TRANSITION_TARGET", "Missing 'Next' target: S", "/States/S/Branches[0]/States/A/Next"),
      ("MISSING_TRANSITION_TARGET", 'State "B" is not reachable.', "/States/S/Branches[0]/States/B")]),
    ("Next and End", one({"Type": "Pass", "Next": "S", "End": True}),
     [(SCHEMA, "There should only be one of the following fields: [Next, End]", "/States/S")]),
    ("a reserved variable", one({**PASS, "Assign": {"states": 1}}),
     [("RESERVED_VARIABLE_NAME", "Cannot assign to reserved variable '$states'.", "/States/S/Assign")]),
    ("no name of a variable", one({**PASS, "Assign": {"a-b": 1}}),
     [("INVALID_VARIABLE_NAME", "Invalid variable name 'a-b': the variable name contains invalid characters.",
       "/States/S/Assign")]),
    ("a long name of a state", {"StartAt": "s" * 81, "States": {"s" * 81: PASS}},
     [("INVALID_STATE_NAME", f"Invalid State name: {'s' * 81} exceeds the 80-character limit allowed by the service",
       f"/States/{'s' * 81}")]),
    ("a long label", one({**MAP, "Label": "l" * 41}),
     [("INVALID_LABEL_NAME", f"Invalid Label name: {'l' * 41} exceeds the 40-character limit allowed by the service",
       "/States/S/Label")]),
    ("a variable that is no path", one({"Type": "Choice", "Default": "B", "Choices": [
        {"Variable": "a", "IsNull": True, "Next": "B"}, {"Variable": "$.a", "StringEqualsPath": "a", "Next": "B"}]},
        B=PASS),
     [(SCHEMA, "Value is not a Reference Path: Reference path didn't start with '$'", "/States/S/Choices[0]/Variable"),
      (SCHEMA, "Value is not a Reference Path: Reference path didn't start with '$'",
       "/States/S/Choices[1]/StringEqualsPath")]),
    ("a rule of the other language", one({"Type": "Choice", "Default": "B", "Choices": [
        {"Condition": "{% true %}", "Next": "B"}]}, B=PASS),
     [(SCHEMA, ("The QueryLanguage is set to 'JSONPath', but field 'Condition' is only supported for the 'JSONata' "
               "QueryLanguage"), "/States/S/Choices[0]"),
      (SCHEMA, f"This object should have only one of the following fields: [{OPERATORS}]", "/States/S/Choices[0]")]),
    ("an action with a capital", one({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:PutObject",
                                      "Parameters": {}, "End": True}),
     [(SCHEMA, ("The resource provided arn:aws:states:::aws-sdk:s3:PutObject is not recognized. The value is not a "
               "valid resource ARN, or the resource is not available in this region."), "/States/S/Resource")]),
    ("an inventory of a type", one({**MAP, "ItemReader": {
        "Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Bucket": "b", "Key": "k"},
        "ReaderConfig": {"ManifestType": "S3_INVENTORY", "InputType": "CSV"}}}),
     [(SCHEMA, "Field 'InputType' is not supported", "/States/S/ItemReader/ReaderConfig")]),
    ("neither Next nor End", one({"Type": "Pass"}),
     [(SCHEMA, "This object should have only one of the following fields: [Next, End]", "/States/S")]),
    ("a field of another type", one({"Type": "Pass", "End": True, "Catch": []}),
     [(SCHEMA, "Field 'Catch' is not supported", "/States/S")]),
    ("an unknown field", {**one(PASS), "Staets": 1}, [(SCHEMA, "Field 'Staets' is not supported", "")]),
    ("an unknown type", one({"Type": "Pss", "End": True}),
     [(SCHEMA, ("The field 'Type' should have one of these values: "
               "[Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]"), "/States/S/Type")]),
    ("a type that is no text", one({"Type": ["Pass"], "End": True}),
     [(SCHEMA, ("The field 'Type' should have one of these values: "
               "[Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]"), "/States/S/Type")]),
    ("no resource", one({"Type": "Task", "End": True}),
     [(SCHEMA, "These fields are required: [Resource]", "/States/S")]),
    ("no ARN", one({"Type": "Task", "Resource": "f", "End": True}),
     [(SCHEMA, "Value is not a valid resource ARN", "/States/S/Resource")]),
    ("an impossible pattern", one({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.sync", "End": True}),
     [(SCHEMA, ("The resource provided arn:aws:states:::lambda:invoke.sync is not recognized. The value is not a valid "
               "resource ARN, or the resource is not available in this region."), "/States/S/Resource")]),
    ("no function name", one({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {},
                              "End": True}),
     [(SCHEMA, "The field 'FunctionName' is required but was missing", "/States/S/Parameters")]),
    ("an invalid path", one({"Type": "Pass", "OutputPath": "Test", "End": True}),
     [(SCHEMA, "Value must be a valid JSONPath.", "/States/S/OutputPath")]),
    ("an invalid reference path", one({"Type": "Pass", "ResultPath": "$.a[*]", "End": True}),
     [(SCHEMA, "Value is not a Reference Path that can be applied to state output", "/States/S/ResultPath")]),
    ("a field that is no path", one({"Type": "Pass", "Assign": {"v.$": "Test"}, "End": True}),
     [(SCHEMA, "The value for the field 'v.$' must be a valid JSONPath or a valid intrinsic function call",
       "/States/S/Assign")]),
    ("a rule without Next", one({"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": True}], "Default": "E"},
                                E={"Type": "Succeed"}),
     [(SCHEMA, "These fields are required: [Next]", "/States/S/Choices[0]")]),
    ("a rule on null", one({"Type": "Choice", "Choices": [{"Variable": None, "IsNull": True, "Next": "E"}]},
                           E={"Type": "Succeed"}),
     [(SCHEMA, "Value must be a valid JSONPath.", "/States/S/Choices[0]/Variable")]),
    ("a number that is null", one({"Type": "Wait", "Seconds": None, "End": True}),
     [(SCHEMA, "Expected value of type Integer", "/States/S/Seconds")]),
    ("no choices", one({"Type": "Choice", "Choices": [], "Default": "E"}, E={"Type": "Succeed"}),
     [(SCHEMA, "Value cannot be empty", "/States/S/Choices")]),
    ("States.ALL among others", one({"Type": "Task", "Resource": LAMBDA, "End": True,
                                     "Retry": [{"ErrorEquals": ["States.ALL", "E"]}]}),
     [(SCHEMA, "States.ALL must appear alone and at end of list", "/States/S/Retry[0]/ErrorEquals")]),
    ("an unknown jitter", one({"Type": "Task", "Resource": LAMBDA, "End": True,
                               "Retry": [{"ErrorEquals": ["E"], "JitterStrategy": "SOME"}]}),
     [(SCHEMA, "Value should be one of the following: [NONE, FULL]", "/States/S/Retry[0]/JitterStrategy")]),
    ("two timeouts", one({"Type": "Task", "Resource": LAMBDA, "End": True, "TimeoutSeconds": 1,
                          "TimeoutSecondsPath": "$.t"}),
     [(SCHEMA, "There should only be one of the following fields: [TimeoutSeconds, TimeoutSecondsPath]",
       "/States/S")]),
    ("two waits", one({"Type": "Wait", "Seconds": 1, "SecondsPath": "$.s", "End": True}),
     [(SCHEMA, "There should only be one of the following fields: [SecondsPath, Seconds, TimestampPath, Timestamp]",
       "/States/S")]),
    ("a context path where none may be", one({"Type": "Map", "MaxConcurrencyPath": "$$.Execution.Input.n",
                                              "ItemProcessor": {"StartAt": "I", "States": {"I": PASS}}, "End": True}),
     [(SCHEMA, "Value is not a Reference Path", "/States/S/MaxConcurrencyPath")]),
    ("a JSONata field in JSONPath", one({"Type": "Pass", "Output": {}, "End": True}),
     [(SCHEMA, ("The QueryLanguage is set to 'JSONPath', but field 'Output' is only supported for the 'JSONata' "
               "QueryLanguage"), "/States/S")]),
    ("a JSONPath field in JSONata", {**one({"Type": "Pass", "InputPath": "$", "End": True}),
                                     "QueryLanguage": "JSONata"},
     [(SCHEMA, ("The QueryLanguage is set to 'JSONata', but field 'InputPath' is only supported for the 'JSONPath' "
               "QueryLanguage"), "/States/S")]),
    ("JSONPath in a JSONata machine", {**one({**PASS, "QueryLanguage": "JSONPath"}), "QueryLanguage": "JSONata"},
     [(SCHEMA, "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine", "/States/S")]),
    ("the language of a processor", one({"Type": "Map", "End": True, "ItemProcessor": {
        "QueryLanguage": "JSONata", "StartAt": "I", "States": {"I": PASS}}}),
     [(SCHEMA, "Field 'QueryLanguage' is not supported", "/States/S/ItemProcessor")]),
    ("an expression that does not parse", {**one({**PASS, "Output": "{% 1 + %}"}), "QueryLanguage": "JSONata"},
     [("INVALID_JSONATA_EXPRESSION", "Unexpected end of expression", "/States/S/Output")]),
    ("an expression that wants a bracket", {**one({**PASS, "Output": "{% a[1,2) %}"}), "QueryLanguage": "JSONata"},
     [("INVALID_JSONATA_EXPRESSION", 'Expected "]", got ","', "/States/S/Output")]),
    ("an expression that is not closed", {**one({**PASS, "Output": {"a": "{% 1"}}), "QueryLanguage": "JSONata"},
     [(SCHEMA, "JSONata string must start with {% and end with %}", "/States/S/Output/a")]),
    ("a bare name in JSONata", {**one({**PASS, "Output": {"v": "{% aaa + bbb[x > 1] %}"}}), "QueryLanguage": "JSONata"},
     [(UNSUPPORTED, "Reference to 'aaa' at the top level is not supported.", "/States/S/Output/v"),
      (UNSUPPORTED, "Reference to 'bbb' at the top level is not supported.", "/States/S/Output/v")]),
    ("the context item of JSONata", {**one({**PASS, "Assign": {"v": ["{% $.phone %}", "{% $$ %}"]}}),
                                     "QueryLanguage": "JSONata"},
     [(UNSUPPORTED, "Reference to '$' at the top level is not supported.", "/States/S/Assign/v[0]"),
      (UNSUPPORTED, "Reference to '$$' is not supported.", "/States/S/Assign/v[1]")]),
    ("a name in a function of JSONata", {**one({**PASS, "Output": "{% $map($states.input, function($x){ b }) %}"}),
                                         "QueryLanguage": "JSONata"},
     [(UNSUPPORTED, "Reference to 'b' at the top level is not supported.", "/States/S/Output")]),
    ("a result where there is none", {**one({**PASS, "Output": "{% $states.result %}"}), "QueryLanguage": "JSONata"},
     [(UNSUPPORTED, "Field '$states.result' does not exist.", "/States/S/Output")]),
    ("an error where there is none", {**one({"Type": "Task", "Resource": LAMBDA, "End": True,
                                             "Arguments": "{% $states.result %}",
                                             "Output": "{% $states.errorOutput.Cause %}"}),
                                      "QueryLanguage": "JSONata"},
     [(UNSUPPORTED, "Field '$states.errorOutput' does not exist.", "/States/S/Output"),
      (UNSUPPORTED, "Field '$states.result' does not exist.", "/States/S/Arguments")]),
    ("a distributed map without its type", one({"Type": "Map", "End": True, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "I", "States": {"I": PASS}}}),
     [(SCHEMA, "These fields are required: [ExecutionType]", "/States/S/ItemProcessor/ProcessorConfig")]),
    ("the same name twice", one({"Type": "Parallel", "End": True, "Branches": [
        {"StartAt": "A", "States": {"A": PASS}}, {"StartAt": "A", "States": {"A": PASS}}]}),
     [("DUPLICATE_STATE_NAME", "Duplicate State name: A", "/States/S/Branches[1]/States/A")]),
    ("the same label twice", one({"Type": "Parallel", "End": True, "Branches": [
        {"StartAt": name, "States": {name: {"Type": "Map", "Label": "L", "End": True, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": f"{name}I", "States": {f"{name}I": PASS}}}}} for name in "AB"]}),
     [("DUPLICATE_LABEL_NAME", "Duplicate Label name: L", "/States/S/Branches[1]/States/B/Label")]),
    ("a language that is none", one({**PASS, "QueryLanguage": "jsonpath", "InputPath": "$", "Output": "{% 1 %}"}),
     [(SCHEMA, ("The QueryLanguage is set to 'JSONata', but field 'InputPath' is only supported for the 'JSONPath' "
               "QueryLanguage"), "/States/S"),
      (SCHEMA, "Value should be one of the following: [JSONPath, JSONata]", "/States/S/QueryLanguage")]),
    ("a language that is no text", {**one(PASS), "QueryLanguage": 5},
     [(SCHEMA, "Expected value of type [STRING]", "/QueryLanguage")]),
    ("JSONPath in a JSONata machine with fields of JSONata",
     {**one({**PASS, "QueryLanguage": "JSONPath", "Output": 1}), "QueryLanguage": "JSONata"},
     [(SCHEMA, "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine", "/States/S")]),
    ("credentials without a role", one({"Type": "Task", "Resource": LAMBDA, "Credentials": {"Role": "r"}, "End": True}),
     [(SCHEMA, "The field 'RoleArn' is required but was missing", "/States/S/Credentials"),
      (SCHEMA, 'The field "Role" is not supported by Step Functions', "/States/S/Credentials")]),
    ("variables that are no object", one({**PASS, "Assign": "v"}),
     [(SCHEMA, "Expected value of type Object", "/States/S/Assign")]),
    ("a map without processor", one({"Type": "Map", "End": True}),
     [(SCHEMA, "This object should have only one of the following fields: [ItemProcessor, Iterator]", "/States/S")]),
    ("no object", "[]", [(SCHEMA, "Definition must be a valid JSON object", None)]),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "expected"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_a_definition_is_refused(definition: Any, expected: list[tuple[str, str, str | None]]) -> None:
    assert found(definition) == expected


def test_inner_states_may_go_round_for_ever() -> None:
    inner = {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}}
    assert found(one({"Type": "Map", "End": True, "ItemProcessor": {"StartAt": "A", "States": inner}})) == []


def test_what_expressions_can_read() -> None:
    catcher = {"ErrorEquals": ["E"], "Next": "E", "Output": "{% $states.errorOutput %}",
               "Assign": {"e": "{% $states.errorOutput.Cause %}"}}  # fmt: skip
    task = {
        "Type": "Task",
        "Resource": LAMBDA,
        "Arguments": "{% $states.input.items[phone > 3].(a)^(b){c: d} %}",
        "Output": "{% $map($states.result, function($x){ $x.phone }) %}",
        "Assign": {"r": "{% $states.result %}"},
        "Catch": [catcher],
        "Next": "E",
    }
    assert found({**one(task, E={"Type": "Succeed"}), "QueryLanguage": "JSONata"}) == []


def test_all_findings_are_told_at_once() -> None:
    definition = one({"Type": "Pass", "InputPath": "x", "OutputPath": "y", "End": True})
    with pytest.raises(language.InvalidDefinition) as refused:
        language.parse(json.dumps(definition))
    assert refused.value.message == (
        "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Value must be a valid JSONPath. at "
        "/States/S/InputPath, SCHEMA_VALIDATION_FAILED: Value must be a valid JSONPath. at /States/S/OutputPath'"
    )


def test_no_terminal_state_in_the_message() -> None:
    with pytest.raises(language.InvalidDefinition, match="MISSING_END_STATE: Workflow has no terminal state at null"):
        language.parse(json.dumps(one({"Type": "Pass", "Next": "S"})))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True,
          "Parameters": {"QueueUrl": "u", "MessageBody": "b"}},
         "Express state machine does not support '.waitForTaskToken' service integration"),
        ({"Type": "Task", "Resource": "arn:aws:states:us-east-1:111111111111:activity:a", "End": True},
         "Express state machine does not support Activity ARN"),
    ],
)  # fmt: skip
def test_what_express_does_not_do(state: dict[str, Any], message: str) -> None:
    assert found(one(state), express=True) == [(SCHEMA, message, "/States/S/Resource")]
    assert found(one(state)) == []


def test_branches_speak_the_language_of_the_machine() -> None:
    inner = {"StartAt": "I", "States": {"I": PASS}}
    definition = language.parse(
        json.dumps(one({"Type": "Map", "QueryLanguage": "JSONata", "ItemProcessor": inner, "End": True}))
    )
    assert definition.states["S"].language == "JSONata"
    assert definition.states["I"].language == "JSONPath"


def test_the_tree() -> None:
    branch = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": LAMBDA, "End": True}}}
    inner = {"Iterator": {"StartAt": "M", "States": {"M": PASS}}, "Type": "Map", "End": True}
    definition = language.parse(json.dumps(one({"Type": "Parallel", "Branches": [branch], "Next": "N"}, N=inner)))
    assert isinstance(definition.states["S"], Parallel)
    assert isinstance(definition.states["N"], Map)
    assert [task.name for task in definition.tasks()] == ["T"]
    assert isinstance(definition.states["T"], Task)


def test_variable_references() -> None:
    definition = one(
        {"Type": "Pass", "Assign": {"a": 1}, "Next": "C"},
        C={"Type": "Choice", "Choices": [{"Variable": "$a", "NumericEqualsPath": "$b", "Next": "J"}], "Default": "J"},
        J={"Type": "Pass", "QueryLanguage": "JSONata", "Next": "F",
           "Output": "{% ($x := $a; $map($items, function($v) { $v + $x + $count($list) }); $states.input) %}"},
        F={"Type": "Fail", "ErrorPath": "States.Format('{}', $err)", "CausePath": "$cause.text"},
    )  # fmt: skip
    references = language.parse(json.dumps(definition)).variable_references
    assert references["C"] == ("a", "b")
    assert set(references["J"]) == {"a", "items", "list"}
    assert references["F"] == ("err", "cause")
    assert "S" not in references
