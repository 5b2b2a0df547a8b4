"""Provisioning templates: what to make for a device, with parameters to fill in.

Pure: a template and parameters in, the properties of a thing, a certificate and policies out.

https://docs.aws.amazon.com/iot/latest/developerguide/provision-template.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SECTIONS = frozenset({"Parameters", "Mappings", "Resources", "DeviceConfiguration"})
_SUBSTITUTION = re.compile(r"\$\{([^}!]+)\}")
# Resource types, the properties they have and the properties whose override can be set
_THING, _CERTIFICATE, _POLICY = "AWS::IoT::Thing", "AWS::IoT::Certificate", "AWS::IoT::Policy"
_PROPERTIES = {
    _THING: frozenset({"ThingName", "AttributePayload", "ThingTypeName", "ThingGroups"}),
    _CERTIFICATE: frozenset(
        {"CertificateId", "CertificateSigningRequest", "CertificatePem", "CACertificatePem", "Status"}
    ),
    _POLICY: frozenset({"PolicyName", "PolicyDocument"}),
}
_OVERRIDES = {
    _THING: {
        "AttributePayload": frozenset({"DO_NOTHING", "REPLACE", "FAIL", "MERGE"}),
        "ThingTypeName": frozenset({"DO_NOTHING", "REPLACE", "FAIL"}),
        "ThingGroups": frozenset({"DO_NOTHING", "REPLACE", "FAIL", "MERGE"}),
    },
    _CERTIFICATE: {"Status": frozenset({"DO_NOTHING", "REPLACE", "FAIL"})},
    _POLICY: {},
}


class TemplateError(ValueError):
    """A template or parameters that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a template, its parameters filled in.  `overrides` maps a property to what to do if it is there."""

    name: str
    properties: Mapping[str, Any]
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProvisioningPlan:
    """What a template asks for."""

    thing: Resource | None
    certificate: Resource
    policies: tuple[Resource, ...]


def read_template(body: str) -> dict[str, Any]:
    """Parse a template and check its form.  Raises TemplateError."""
    try:
        template = json.loads(body)
    except (json.JSONDecodeError, RecursionError) as error:
        raise TemplateError(f"The template is not JSON: {error}") from None
    if not isinstance(template, dict):
        raise TemplateError("The template is not a JSON object")
    for section in template:
        if section not in _SECTIONS:
            raise TemplateError(f"{section} is not a section of a provisioning template")
    for name, declaration in _object(template.get("Parameters", {}), "Parameters").items():
        if _object(declaration, f"Parameters.{name}").get("Type") != "String":
            raise TemplateError(f"Parameters.{name}.Type is not String")
    resources = _object(template.get("Resources"), "Resources")
    kinds: list[str] = []
    for name, resource in resources.items():
        place = f"Resources.{name}"
        kind = _object(resource, place).get("Type")
        if kind not in _PROPERTIES:
            raise TemplateError(f"{place}.Type is none of {', '.join(_PROPERTIES)}")
        kinds.append(kind)
        for written in _object(resource.get("Properties"), f"{place}.Properties"):
            if written not in _PROPERTIES[kind]:
                raise TemplateError(f"{place}.Properties.{written} is not a property of {kind} that is emulated")
        for written, action in _object(resource.get("OverrideSettings", {}), f"{place}.OverrideSettings").items():
            if action not in _OVERRIDES[kind].get(written, ()):
                raise TemplateError(f"{place}.OverrideSettings.{written}: {action} is not possible")
    for kind in (_THING, _CERTIFICATE):
        if kinds.count(kind) > 1:
            raise TemplateError(f"Resources has more than one {kind}")
    if _CERTIFICATE not in kinds:
        raise TemplateError(f"Resources has no {_CERTIFICATE}")
    return template


def fill_template(template: Mapping[str, Any], parameters: Mapping[str, str]) -> ProvisioningPlan:
    """What a template that has been read asks for with parameters.  Raises TemplateError."""
    values = dict(parameters)
    for name, declaration in template.get("Parameters", {}).items():
        if name not in values:
            if "Default" not in declaration:
                raise TemplateError(f"The parameter {name} has no value")
            values[name] = declaration["Default"]
    evaluator = _Evaluator(values, template.get("Mappings", {}))
    found: dict[str, list[Resource]] = {kind: [] for kind in _PROPERTIES}
    for name, resource in template["Resources"].items():
        properties = evaluator.value(resource["Properties"], f"Resources.{name}.Properties")
        found[resource["Type"]].append(Resource(name, properties, resource.get("OverrideSettings", {})))
    for policy in found[_POLICY]:
        if ("PolicyName" in policy.properties) == ("PolicyDocument" in policy.properties):
            raise TemplateError(f"Resources.{policy.name} needs PolicyName or PolicyDocument, and not both")
    return ProvisioningPlan(
        thing=found[_THING][0] if found[_THING] else None,
        certificate=found[_CERTIFICATE][0],
        policies=tuple(found[_POLICY]),
    )


class _Evaluator:
    """Carries out Ref and the intrinsic functions."""

    def __init__(self, parameters: Mapping[str, Any], mappings: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._mappings = mappings

    def value(self, source: Any, place: str) -> Any:
        if isinstance(source, list):
            return [self.value(entry, f"{place}[{index}]") for index, entry in enumerate(source)]
        if not isinstance(source, dict):
            return source
        if len(source) == 1:
            [(name, argument)] = source.items()
            if name == "Ref":
                return self._parameter(argument, place)
            if name.startswith("Fn::"):
                return self._function(name, argument, f"{place}.{name}")
        return {name: self.value(entry, f"{place}.{name}") for name, entry in source.items()}

    def _function(self, name: str, argument: Any, place: str) -> Any:
        if name == "Fn::Sub":
            text, values = argument if isinstance(argument, list) else (argument, {})
            given = self.value(values, place)
            return _SUBSTITUTION.sub(
                lambda found: str(given[found[1]] if found[1] in given else self._parameter(found[1], place)), text
            )
        arguments = self.value(argument, place)
        try:
            match name, arguments:
                case "Fn::Join", [str(separator), list(parts)]:
                    return separator.join(parts)
                case "Fn::Select", [index, list(entries)]:
                    return entries[int(index)]
                case "Fn::Split", [str(separator), str(text)]:
                    return text.split(separator)
                case "Fn::FindInMap", [table, first, second]:
                    return self._mappings[table][first][second]
        except (LookupError, ValueError, TypeError):
            raise TemplateError(f"{place} has no value for {json.dumps(arguments)}") from None
        raise TemplateError(f"{place} is not a function of provisioning templates, or has other arguments")

    def _parameter(self, name: Any, place: str) -> Any:
        if name not in self._parameters:
            raise TemplateError(f"{place} refers to {name}, which is not a parameter with a value")
        return self._parameters[name]


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TemplateError(f"{place} is not an object")
    return value
