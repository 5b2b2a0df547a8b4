"""Fn::ForEach and computed names, as AWS::LanguageExtensions rewrites them."""

from typing import Any

import pytest

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.intrinsics import LANGUAGE_EXTENSIONS, Scope
from stepbridge.cloudformation.loops import unrolled
from stepbridge.cloudformation.template import Template, parse_template

SCOPE = Scope({"Names": ["a", "b"], "One": "a"}, {"Sizes": {"a": {"list": ["x", "y"]}}}, language_extensions=True)
QUEUE = {"Type": "AWS::SQS::Queue"}


def unroll(**sections: Any) -> dict[str, Any]:
    body = {"Transform": LANGUAGE_EXTENSIONS, "Resources": {"Other": QUEUE}, **sections}
    return unrolled(Template("", body, {}), SCOPE).body


def test_a_fragment_for_each_item() -> None:
    fragment = {
        **QUEUE,
        "Properties": {
            "QueueName": {"Fn::Sub": "${Name}-${AWS::Region}-${!Name}"},
            "Tags": [{"Key": "name", "Value": {"Ref": "Name"}}],
        },
    }
    resources = unroll(Resources={"Fn::ForEach::Queues": ["Name", {"Ref": "Names"}, {"Queue${Name}": fragment}]})[
        "Resources"
    ]
    assert list(resources) == ["Queuea", "Queueb"]
    assert resources["Queueb"]["Properties"] == {
        "QueueName": {"Fn::Sub": "b-${AWS::Region}-${!Name}"},
        "Tags": [{"Key": "name", "Value": "b"}],
    }


def test_loops_in_loops_and_in_other_sections() -> None:
    inner = {"Fn::ForEach::Inner": ["Y", {"Fn::FindInMap": ["Sizes", {"Ref": "X"}, "list"]}, {"Q${X}${Y}": QUEUE}]}
    body = unroll(
        Resources={"Fn::ForEach::Outer": ["X", ["a"], inner], "Other": QUEUE},
        Conditions={"Fn::ForEach::C": ["N", [1, 2], {"Is${N}": {"Fn::Equals": [{"Ref": "One"}, {"Ref": "N"}]}}]},
        Outputs={"Fn::ForEach::O": ["Y", ["x", "y"], {"Out${Y}": {"Value": {"Fn::GetAtt": ["Qa${Y}", "Arn"]}}}]},
    )
    assert list(body["Resources"]) == ["Qax", "Qay", "Other"]
    assert body["Conditions"]["Is2"] == {"Fn::Equals": [{"Ref": "One"}, "2"]}
    assert body["Outputs"]["Outy"] == {"Value": {"Fn::GetAtt": ["Qay", "Arn"]}}


def test_a_loop_over_properties() -> None:
    variables = {"Fn::ForEach::V": ["N", ["A", "B"], {"NAME_${N}": {"Ref": "N"}}], "C": "c"}
    body = unroll(Resources={"F": {"Type": "T", "Properties": {"Variables": variables}}})
    assert body["Resources"]["F"]["Properties"]["Variables"] == {"NAME_A": "A", "NAME_B": "B", "C": "c"}


def test_keys_leave_out_what_is_not_alphanumeric_where_they_say_so() -> None:
    tagged = {**QUEUE, "Properties": {"QueueName": {"Fn::Sub": "${Ip}"}}}
    resources = unroll(Resources={"Fn::ForEach::X": ["Ip", ["10.0.0.1"], {"Q&{Ip}": tagged}]})["Resources"]
    assert resources == {"Q10001": {**QUEUE, "Properties": {"QueueName": {"Fn::Sub": "10.0.0.1"}}}}


def test_computed_names() -> None:
    body = unroll(
        Outputs={
            "O": {"Value": {"Fn::GetAtt": [{"Fn::Sub": "Q${One}"}, "Arn"]}},
            "P": {"Value": {"Ref": {"Fn::Select": [1, {"Ref": "Names"}]}}},
        }
    )
    assert body["Outputs"] == {"O": {"Value": {"Fn::GetAtt": ["Qa", "Arn"]}}, "P": {"Value": {"Ref": "b"}}}


@pytest.mark.parametrize(
    ("loop", "reason"),
    [
        ("text", "Fn::ForEach::X layout is incorrect"),
        (["N", ["a"]], "Fn::ForEach::X layout is incorrect"),
        ([1, ["a"], {"Q${N}": QUEUE}], "Fn::ForEach::X layout is incorrect"),
        (["N", "a", {"Q${N}": QUEUE}], "Fn::ForEach::X: the collection must be a list of strings"),
        (["N", ["a"], {"Q": QUEUE}], "Fn::ForEach::X: the key Q must contain ${N} or &{N}"),
        (["N", ["a", "a"], {"Q${N}": QUEUE}], "the key Qa is there twice"),
        (
            ["N", ["a"], {"Fn::ForEach::Y": ["N", ["b"], {"Q${N}": QUEUE}]}],
            "Fn::ForEach::Y layout is incorrect",
        ),
    ],
)
def test_refused(loop: Any, reason: str) -> None:
    with pytest.raises(TemplateError) as refused:
        unroll(Resources={"Fn::ForEach::X": loop})
    assert refused.value.message == f"Transform AWS::LanguageExtensions failed with: {reason}"


def test_what_a_loop_makes_must_be_resources() -> None:
    with pytest.raises(TemplateError, match="Resource name Qa-b is non alphanumeric"):
        unroll(Resources={"Fn::ForEach::X": ["N", ["a-b"], {"Q${N}": QUEUE}]})


def test_without_the_transform_there_are_no_loops() -> None:
    with pytest.raises(TemplateError, match="Fn::ForEach needs Transform: AWS::LanguageExtensions"):
        parse_template('{"Resources": {"Fn::ForEach::X": ["N", ["a"], {"Q${N}": {"Type": "T"}}]}}')


def test_the_types_in_a_template_are_those_in_loops_too() -> None:
    body = {"Resources": {"Other": {"Type": "T"}, "Fn::ForEach::X": ["N", ["a"], {"Q${N}": QUEUE}]}}
    assert Template("", body, {}).resource_types == {"T", "AWS::SQS::Queue"}
