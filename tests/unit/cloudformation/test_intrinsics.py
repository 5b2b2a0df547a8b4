"""Intrinsic functions and conditions."""

from typing import Any

import pytest

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.intrinsics import Scope, evaluate_conditions, references, resolve

SCOPE = Scope(
    parameters={"Name": "n", "List": ["a", "b"], "AWS::Region": "us-east-1", "AWS::StackName": "stack"},
    mappings={"Sizes": {"us-east-1": {"small": "1", "all": ["x", "y"]}}},
    conditions={"Yes": True, "No": False},
    exports={"shared": "value"},
    resource_names=frozenset({"Role"}),
    resource=lambda name, attribute: f"<{name}.{attribute}>" if attribute else f"<{name}>",
    language_extensions=True,
)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"Ref": "Name"}, "n"),
        ({"Ref": "List"}, ["a", "b"]),
        ({"Ref": "Role"}, "<Role>"),
        ({"Fn::GetAtt": ["Role", "Arn"]}, "<Role.Arn>"),
        ({"Fn::GetAtt": "Role.Arn"}, "<Role.Arn>"),
        ({"Fn::GetAtt": ["Role", {"Ref": "Name"}]}, "<Role.n>"),
        ({"Fn::Sub": "${Name}/${Role}/${Role.Arn}/${AWS::Region}"}, "n/<Role>/<Role.Arn>/us-east-1"),
        ({"Fn::Sub": "${!Literal} $ {x} ${ Name }"}, "${Literal} $ {x} n"),
        ({"Fn::Sub": ["${x}-${Name}", {"x": {"Ref": "Role"}}]}, "<Role>-n"),
        ({"Fn::Join": ["-", ["a", 1, True, {"Ref": "Name"}]]}, "a-1-true-n"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b"),
        ({"Fn::Split": ["|", "a||b"]}, ["a", "", "b"]),
        ({"Fn::Select": ["1", {"Ref": "List"}]}, "b"),
        ({"Fn::Select": [0, {"Fn::Split": [".", {"Fn::GetAtt": ["Role", "Arn"]}]}]}, "<Role"),
        ({"Fn::If": ["Yes", "then", {"Ref": "Missing"}]}, "then"),
        ({"Fn::If": ["No", "then", "else"]}, "else"),
        ({"a": {"Fn::If": ["No", 1, {"Ref": "AWS::NoValue"}]}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "AWS::Region"}, "small"]}, "1"),
        ({"Fn::FindInMap": ["Sizes", "us-east-1", "all"]}, ["x", "y"]),
        ({"Fn::FindInMap": ["Sizes", "eu-west-1", "all", {"DefaultValue": "d"}]}, "d"),
        ({"Fn::Base64": {"Fn::Sub": "${Name}"}}, "bg=="),
        ({"Fn::ImportValue": "shared"}, "value"),
        ({"Fn::GetAZs": ""}, ["us-east-1a", "us-east-1b", "us-east-1c"]),
        ({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}, ["10.0.0.0/24", "10.0.1.0/24"]),
        ({"Fn::Length": {"Ref": "List"}}, 2),
        ({"Fn::ToJsonString": {"a": {"Ref": "Name"}}}, '{"a":"n"}'),
        ({"Condition": {"StringEquals": {"Ref": "Name"}}}, {"Condition": {"StringEquals": "n"}}),  # an IAM statement's
    ],
)
def test_values(value: Any, result: Any) -> None:
    assert resolve(value, SCOPE) == result


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Ref": "Nobody"}, "Unresolved resource dependencies [Nobody] in the Resources block of the template"),
        ({"Fn::GetAtt": ["Nobody", "Arn"]}, "instance of Fn::GetAtt references undefined resource Nobody"),
        ({"Fn::GetAtt": "Role"}, "every Fn::GetAtt object requires two non-empty parameters"),
        ({"Fn::Sub": "${a b}"}, "variable names in Fn::Sub syntax must contain only alphanumeric characters"),
        ({"Fn::Sub": ["x"]}, "One or more Fn::Sub intrinsic functions don't specify expected arguments"),
        ({"Fn::Join": ["-", "text"]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Split": ["", "text"]}, "every Fn::Split object requires two parameters"),
        ({"Fn::Select": [2, ["a", "b"]]}, "Fn::Select cannot select nonexistent value at index 2"),
        ({"Fn::FindInMap": ["Sizes", "mars", "small"]}, "Unable to get mapping for Sizes::mars::small"),
        ({"Fn::FindInMap": ["None", "a", "b"]}, "Mapping named 'None' is not present in the 'Mappings' section"),
        ({"Fn::If": ["Unknown", 1, 2]}, "unresolved condition dependency Unknown in Fn::If"),
        ({"Fn::ImportValue": "nothing"}, "No export named nothing found."),
        ({"Fn::Transform": {"Name": "AWS::Include"}}, "Encountered unsupported function: Fn::Transform"),
        ({"Fn::Magic": 1}, "Encountered unsupported function: Fn::Magic"),
    ],
)
def test_refused(value: Any, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        resolve({"deep": [value]}, SCOPE)
    assert message in refused.value.message


def test_extension_functions_need_their_transform() -> None:
    with pytest.raises(TemplateError, match="Fn::Length needs Transform: AWS::LanguageExtensions"):
        resolve({"Fn::Length": ["a"]}, Scope({}))


def test_conditions() -> None:
    conditions = {
        "Same": {"Fn::Equals": [{"Ref": "Name"}, "n"]},
        "NotSame": {"Fn::Not": [{"Condition": "Same"}]},
        "Both": {"Fn::And": [{"Condition": "Same"}, {"Condition": "NotSame"}]},
        "Either": {"Fn::Or": [{"Condition": "Both"}, {"Fn::Equals": [True, "true"]}]},
    }
    outcomes = evaluate_conditions(conditions, SCOPE)
    assert outcomes == {"Same": True, "NotSame": False, "Both": False, "Either": True}


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"A": {"Condition": "B"}}, "Unresolved condition dependency B"),
        ({"A": {"Condition": "B"}, "B": {"Condition": "A"}}, "Circular dependency between conditions: [A, B]"),
        ({"A": {"Fn::Equals": ["x"]}}, "every Fn::Equals object requires a list of 2 string parameters"),
        ({"A": {"Fn::Equals": [{"Ref": "Role"}, "x"]}}, "Cannot reference resources in the Conditions block"),
        ({"A": "yes"}, "Every Condition member must be a boolean function"),
    ],
)
def test_refused_conditions(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        evaluate_conditions(conditions, SCOPE)
    assert message in refused.value.message


def test_references_follow_only_the_chosen_branch() -> None:
    value = {
        "a": {"Fn::If": ["Yes", {"Ref": "A"}, {"Ref": "B"}]},
        "b": {"Fn::Sub": ["${C.Arn} ${local} ${AWS::Region}", {"local": {"Fn::GetAtt": ["D", "Arn"]}}]},
    }
    found = set(references(value, {"Yes": True}))
    assert found == {("A", None), ("C", "Arn"), ("AWS::Region", None), ("D", "Arn")}
