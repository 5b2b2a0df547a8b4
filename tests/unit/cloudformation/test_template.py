"""Reading templates: values, lines, and what is refused."""

import json

import pytest

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.template import parse_template

YAML = """\
Resources:
  Thing:
    Type: AWS::IoT::Thing
    Properties:
      ThingName: !Sub "${AWS::StackName}-x"
      AttributePayload:
        Attributes:
          role: !GetAtt Role.Arn
          first: !Select [0, !Split [",", !Ref List]]
          version: 2012-10-17
          count: 3
"""


def test_short_forms_become_long_ones() -> None:
    properties = parse_template(YAML).resources["Thing"]["Properties"]
    assert properties == {
        "ThingName": {"Fn::Sub": "${AWS::StackName}-x"},
        "AttributePayload": {
            "Attributes": {
                "role": {"Fn::GetAtt": ["Role", "Arn"]},
                "first": {"Fn::Select": [0, {"Fn::Split": [",", {"Ref": "List"}]}]},
                "version": "2012-10-17",
                "count": 3,
            }
        },
    }


def test_json_and_yaml_are_the_same_template() -> None:
    template = parse_template(YAML)
    assert parse_template(json.dumps(template.body)).body == template.body
    assert parse_template(json.dumps(template.body).replace(" ", "\t")).resources.keys() == template.resources.keys()


def test_lines() -> None:
    template = parse_template(YAML)
    assert template.line("Resources", "Thing") == 2
    assert template.line("Resources", "Thing", "Properties", "AttributePayload") == 6
    assert template.line("Resources", "Thing", "Properties", "Unknown") == 4  # the nearest part around it
    assert template.place("Resources", "RoleThatATransformMade") == ""
    assert template.place("Resources") == " (line 1)"
    in_json = parse_template('{"Resources": {\n  "Thing": {\n    "Type": "AWS::IoT::Thing"}}}')
    assert in_json.line("Resources", "Thing") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Resources:\n  A: }", "Template format error: YAML not well-formed. (line 2, column 6)"),
        ('{"Resources": }}', "Template format error: JSON not well-formed. (line 1, column 15)"),
        ("just text", "Template format error: unsupported structure."),
        ("Resources: {}", "Template format error: At least one Resources member must be defined."),
        ("Resource: {}\nResources: {A: {Type: T}}", "Invalid template property or properties [Resource]"),
        (
            "AWSTemplateFormatVersion: '2011-01-01'\nResources: {A: {Type: T}}",
            "Template format error: 2011-01-01 is not a supported value for AWSTemplateFormatVersion.",
        ),
        ("Resources: {A-B: {Type: T}}", "Template format error: Resource name A-B is non alphanumeric."),
        (
            "Resources:\n  A: {Properties: {}}",
            "Template format error: [/Resources/A] Every Resources object must contain a Type member. (line 2)",
        ),
        ("Resources:\n  A: {Type: T, Propertis: {}}", "Invalid template resource property 'Propertis' (line 2)"),
        (
            "Resources: {A: {Type: T, Properties: {B: [{C: null}]}}}",
            "[/Resources/A/Properties/B/0/C] 'null' values are not allowed in templates",
        ),
        (
            "Resources: {A: &a {Type: T}, B: *a}",
            "Template error: YAML aliases are not allowed in CloudFormation templates (line 1)",
        ),
        (
            "Resources:\n  A: {Type: T, DependsOn: [B, 1]}",
            "Template format error: DependsOn must be a string or list of strings. (line 2)",
        ),
        (
            "Resources: {" + ", ".join(f"R{number}: {{Type: T}}" for number in range(501)) + "}",
            "Template format error: Number of resources, 501, is greater than maximum allowed, 500",
        ),
        (
            "Mappings: {M: {a: b}}\nResources: {A: {Type: T}}",
            "Template format error: Every Mappings member must be a map of maps: M. (line 1)",
        ),
        (
            "Mappings: {M: {a: {b: {c: d}}}}\nResources: {A: {Type: T}}",
            "Template format error: Every Mappings attribute must be a String or a List. (line 1)",
        ),
        ("Resources: {A: {Type: !Magic T}}", "Template format error: unsupported tag !Magic (line 1)"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        parse_template(text)
    assert refused.value.message == message
