"""Parameters' declarations, constraints and values."""

from typing import Any

import pytest

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.parameters import check_declarations, parameter_values, referenced_value
from stepbridge.cloudformation.template import Template


def template(**declarations: Any) -> Template:
    return Template("", {"Parameters": declarations}, {})


def test_given_values_go_before_defaults() -> None:
    declared = template(A={"Type": "String", "Default": "a"}, B={"Type": "Number", "Default": 5}, C={"Type": "String"})
    assert parameter_values(declared, {"C": "c", "A": "x"}) == {"A": "x", "B": "5", "C": "c"}


@pytest.mark.parametrize(
    ("declaration", "value", "message"),
    [
        ({"AllowedValues": ["a", "b"]}, "c", "Parameter 'P' must be one of AllowedValues"),
        ({"AllowedPattern": "[a-z]+"}, "abc1", "Parameter 'P' must match pattern [a-z]+"),
        ({"MinLength": 3}, "ab", "Parameter 'P' must contain at least 3 characters"),
        ({"MaxLength": "3"}, "abcd", "Parameter 'P' must contain at most 3 characters"),
        ({"Type": "Number"}, "x", "Parameter 'P' must be a number"),
        ({"Type": "Number", "MinValue": 2}, "1", "Parameter 'P' must be a number not less than 2"),
        ({"Type": "Number", "MaxValue": 2}, "2.5", "Parameter 'P' must be a number not greater than 2"),
        ({"Type": "List<Number>"}, "1,x", "Parameter 'P' must be a number"),
        (
            {"MinLength": 3, "ConstraintDescription": "three letters"},
            "ab",
            "Parameter P failed to satisfy constraint: three letters",
        ),
    ],
)
def test_constraints(declaration: dict[str, Any], value: str, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        parameter_values(template(P={"Type": "String", **declaration}), {"P": value})
    assert refused.value.message == message


def test_missing_and_unknown() -> None:
    declared = template(A={"Type": "String"}, B={"Type": "String"})
    with pytest.raises(TemplateError, match=r"^Parameters: \[A, B\] must have values$"):
        parameter_values(declared, {})
    with pytest.raises(TemplateError, match=r"^Parameters: \[C\] do not exist in the template$"):
        parameter_values(declared, {"C": "c"})


@pytest.mark.parametrize(
    ("parameter_type", "text", "value"),
    [
        ("String", "a, b", "a, b"),
        ("CommaDelimitedList", "a, b", ["a", "b"]),
        ("List<Number>", "1,2", ["1", "2"]),
        ("AWS::SSM::Parameter::Value<String>", "v", "v"),
        ("AWS::SSM::Parameter::Value<List<String>>", "v,w", ["v", "w"]),
    ],
)
def test_what_ref_gives(parameter_type: str, text: str, value: Any) -> None:
    assert referenced_value(parameter_type, text) == value


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({}, "Every Parameters object must contain a Type member"),
        ({"Type": "Strin"}, "Unrecognized parameter type: Strin"),
        ({"Type": "String", "Defalt": "x"}, "Invalid template parameter property 'Defalt'"),
        ({"Type": "String", "Default": ["x"]}, "Every Default member must be a string"),
    ],
)
def test_refused_declarations(declaration: dict[str, Any], message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        check_declarations(template(P=declaration))
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        ({"AllowedPattern": "["}, "The AllowedPattern is no regular expression"),
        ({"MinLength": "few"}, "Every MinLength member must be a number"),
        ({"AllowedValues": "a"}, "Every AllowedValues member must be a list of strings"),
    ],
)
def test_constraints_that_cannot_be_checked(declaration: dict[str, Any], problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        check_declarations(template(P={"Type": "String", **declaration}))
