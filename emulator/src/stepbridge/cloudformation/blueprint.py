"""A template with its parameters' values, checked as far as it can be before anything is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stepbridge.cloudformation.dynamic_references import secure_strings
from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.graph import creation_order
from stepbridge.cloudformation.intrinsics import (
    LANGUAGE_EXTENSIONS,
    PSEUDO_PARAMETERS,
    Scope,
    evaluate_conditions,
    references,
    resolve,
)
from stepbridge.cloudformation.loops import unrolled
from stepbridge.cloudformation.parameters import as_text, check_declarations, parameter_values, referenced_value
from stepbridge.cloudformation.resources import resource_types
from stepbridge.cloudformation.resources.base import ResourceType, Stack
from stepbridge.cloudformation.resources.custom import CustomResource, is_custom
from stepbridge.cloudformation.resources.shapes import KNOWN_AFTER_APPLY
from stepbridge.cloudformation.serverless import check_transforms, expand
from stepbridge.cloudformation.template import Template, check_size

_POLICIES = frozenset({"Delete", "Retain", "RetainExceptOnCreate"})
_NAME_PROPERTIES = {"AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName"}


@dataclass(frozen=True, slots=True)
class Declaration:
    """A resource as the template declares it; `dependencies` are the logical ids that must exist before it."""

    logical_id: str
    type_name: str
    properties: Mapping[str, Any]
    dependencies: frozenset[str]
    deletion_policy: str
    replacement_policy: str
    metadata: Any

    @property
    def resource_type(self) -> type[ResourceType]:
        return find_type(self.type_name)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a stack should become.

    `processed` is the template after its transforms, `parameters` the parameters' texts, `resources` what the
    conditions leave of the section Resources, in an order in which they can be made.
    """

    original: Template
    processed: Template
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    resources: Mapping[str, Declaration]
    scope: Scope

    def resolved(self, declaration: Declaration, resource: Callable[[str, str | None], Any]) -> dict[str, Any]:
        """The properties of a resource; `resource` gives the values that come from others.  Raises TemplateError."""
        properties = resolve(declaration.properties, self._scope(resource))
        return declaration.resource_type.with_stack_tags(properties, self.tags)

    def shown(self, declaration: Declaration, resource: Callable[[str, str | None], Any]) -> dict[str, Any]:
        """The properties as events show them: parameters with NoEcho are masked.  Raises TemplateError."""
        declared = self.original.section("Parameters")
        masked = {name: "****" for name in self.parameters if as_text(declared[name].get("NoEcho", False)) == "true"}
        scope = self._scope(resource)
        properties = resolve(declaration.properties, replace(scope, parameters={**scope.parameters, **masked}))
        return declaration.resource_type.with_stack_tags(properties, self.tags)

    def outputs(self, resource: Callable[[str, str | None], Any]) -> list[dict[str, str]]:
        """The outputs, in the members of CloudFormation's Output.  Raises TemplateError."""
        scope = self._scope(resource)
        outputs = []
        for name, output in _live_outputs(self.processed, scope.conditions):
            value = resolve(output["Value"], scope)
            _check_output(name, value)
            members = {"OutputKey": name, "OutputValue": as_text(value)}
            if "Description" in output:
                members["Description"] = output["Description"]
            if "Export" in output:
                members["ExportName"] = as_text(resolve(output["Export"]["Name"], scope))
            outputs.append(members)
        return outputs

    def imports(self) -> frozenset[str]:
        """The names of the exports that the template imports."""
        found = _imports([each.properties for each in self.resources.values()] + [self.processed.section("Outputs")])
        return frozenset(as_text(resolve(argument, self.scope)) for argument in found)

    def capabilities(self) -> list[str]:
        """The capabilities that its IAM resources ask the user to acknowledge."""
        iam = [each for each in self.resources.values() if each.type_name.startswith("AWS::IAM::")]
        if any(_NAME_PROPERTIES.get(each.type_name) in each.properties for each in iam):
            return ["CAPABILITY_NAMED_IAM"]
        return ["CAPABILITY_IAM"] if iam else []

    def _scope(self, resource: Callable[[str, str | None], Any]) -> Scope:
        return replace(self.scope, resource=resource)


def find_type(type_name: str) -> type[ResourceType]:
    """The class of a supported resource type."""
    return CustomResource if is_custom(type_name) else resource_types()[type_name]


def make_blueprint(
    template: Template,
    given: Mapping[str, str],
    stack: Stack,
    tags: Mapping[str, str],
    exports: Mapping[str, str],
    looked_up: Mapping[str, str],
) -> Blueprint:
    """Read `template` with the parameter values `given`, and check all that can be checked.

    `looked_up` has the values of the parameters whose text is only the name of an SSM parameter.  Raises TemplateError
    for a template that cannot work: an unsupported resource type or property is told with the logical id and the line.
    """
    check_transforms(template)
    check_declarations(template)
    parameters = parameter_values(template, given)
    declared = template.section("Parameters")
    values: dict[str, Any] = {}
    for name, text in parameters.items():
        values[name] = referenced_value(declared[name]["Type"], looked_up.get(name, text))
    values |= _pseudo_parameters(stack)
    mappings = template.section("Mappings")
    looped = unrolled(template, Scope(values, mappings, exports=exports, language_extensions=True))
    processed = expand(looped, values, stack.region)
    check_size(processed)
    base = Scope(values, processed.section("Mappings"), exports=exports)
    extensions = LANGUAGE_EXTENSIONS in template.transforms
    conditions = evaluate_conditions(processed.section("Conditions"), base)
    names = frozenset(_live_resources(processed, conditions))
    _check_types(processed)

    def planned(name: str, attribute: str | None) -> str:
        type_name = processed.resources[name]["Type"]
        if attribute and not find_type(type_name).has_attribute(attribute):
            raise TemplateError(
                f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
            )
        return KNOWN_AFTER_APPLY

    scope = Scope(values, base.mappings, conditions, exports, names, planned, extensions)
    declarations = {name: _declaration(processed, name, scope) for name in processed.resources if name in names}
    order = creation_order({name: each.dependencies for name, each in declarations.items()})
    resources = {name: declarations[name] for name in order}
    blueprint = Blueprint(template, processed, parameters, tags, resources, scope)
    _check_outputs(processed, scope)
    for declaration in resources.values():
        _check_properties(blueprint, declaration)
    return blueprint


def _pseudo_parameters(stack: Stack) -> dict[str, Any]:
    return {
        "AWS::AccountId": stack.account,
        "AWS::NotificationARNs": [],
        "AWS::Partition": "aws",
        "AWS::Region": stack.region,
        "AWS::StackId": stack.stack_id,
        "AWS::StackName": stack.name,
        "AWS::URLSuffix": "amazonaws.com",
    }


def _live_resources(template: Template, conditions: Mapping[str, bool]) -> Iterator[str]:
    for logical_id, resource in template.resources.items():
        condition = resource.get("Condition")
        if condition is not None and condition not in conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {condition} in resource {logical_id}"
                f"{template.place('Resources', logical_id)}"
            )
        if condition is None or conditions[condition]:
            yield logical_id


def _live_outputs(template: Template, conditions: Mapping[str, bool]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, output in template.section("Outputs").items():
        if not isinstance(output, dict) or "Value" not in output:
            raise TemplateError(f"Template format error: Output {name} is malformed. It must contain a Value member.")
        condition = output.get("Condition")
        if condition is not None and condition not in conditions:
            raise TemplateError(f"Template format error: Unresolved condition dependency {condition} in output {name}")
        if condition is None or conditions[condition]:
            yield name, output


def _check_types(template: Template) -> None:
    types = resource_types()
    unsupported = [
        f"{resource['Type']} (resource {logical_id}{_comma_line(template, logical_id)})"
        for logical_id, resource in template.resources.items()
        if resource["Type"] not in types and not is_custom(resource["Type"])
    ]
    if unsupported:
        raise TemplateError(f"Template format error: Unrecognized resource types: [{', '.join(unsupported)}]")


def _comma_line(template: Template, logical_id: str) -> str:
    line = template.line("Resources", logical_id)
    return f", line {line}" if line else ""


def _declaration(template: Template, logical_id: str, scope: Scope) -> Declaration:
    resource = template.resources[logical_id]
    place = f" in resource {logical_id}{template.place('Resources', logical_id)}"
    for unsupported in ("CreationPolicy", "UpdatePolicy"):
        if unsupported in resource:
            raise TemplateError(f"The attribute {unsupported} is not supported by stepbridge{place}")
    policies = {}
    for attribute in ("DeletionPolicy", "UpdateReplacePolicy"):
        policies[attribute] = resolve(resource.get(attribute, "Delete"), scope)
        if policies[attribute] not in _POLICIES:
            raise TemplateError(
                f"Template error: resource type {resource['Type']} does not support {attribute} "
                f"{policies[attribute]}{place}"
            )
    properties = resource.get("Properties", {})
    return Declaration(
        logical_id,
        resource["Type"],
        properties,
        _dependencies(resource, properties, scope, place),
        policies["DeletionPolicy"],
        policies["UpdateReplacePolicy"],
        resource.get("Metadata"),
    )


def _dependencies(resource: Mapping[str, Any], properties: Any, scope: Scope, place: str) -> frozenset[str]:
    depends_on = resource.get("DependsOn", [])
    dependencies = set()
    for name in [depends_on] if isinstance(depends_on, str) else depends_on:
        if name in scope.resource_names:
            dependencies.add(name)
        else:
            raise _unresolved(name, place)
    for name, attribute in references(properties, scope.conditions):
        if name in scope.resource_names:
            dependencies.add(name)
        elif attribute is not None:
            raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {name}{place}")
        elif name not in scope.parameters and name not in PSEUDO_PARAMETERS:
            raise _unresolved(name, place)
    return frozenset(dependencies)


def _unresolved(name: str, place: str) -> TemplateError:
    return TemplateError(
        f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
        f"{place}"
    )


def _check_outputs(template: Template, scope: Scope) -> None:
    for output_name, output in _live_outputs(template, scope.conditions):
        for name, _ in references(output, scope.conditions):
            if name not in scope.resource_names and name not in scope.parameters and name not in PSEUDO_PARAMETERS:
                raise TemplateError(
                    f"Template format error: Unresolved resource dependencies [{name}] in the Outputs block of the "
                    f"template (output {output_name})"
                )
        _check_output(output_name, resolve(output, scope)["Value"])


def _check_output(name: str, value: Any) -> None:
    if isinstance(value, (dict, list)):
        raise TemplateError(
            f"Template format error: Output {name} is malformed. The Value field of every Outputs member must evaluate "
            "to a String."
        )


def _check_properties(blueprint: Blueprint, declaration: Declaration) -> None:
    logical_id = declaration.logical_id
    try:
        properties = blueprint.resolved(declaration, blueprint.scope.resource)
    except TemplateError as error:
        line = blueprint.processed.place("Resources", logical_id)
        raise TemplateError(f"{error.message} in resource {logical_id}{line}") from None
    if secure := list(secure_strings(declaration.type_name, properties)):
        raise TemplateError(f"SSM Secure reference is not supported in: [{', '.join(secure)}]")
    found = list(declaration.resource_type.check(properties))
    if found:
        place = blueprint.processed.place("Resources", logical_id, "Properties")
        raise TemplateError(
            f"Properties validation failed for resource {logical_id} with message:\n[{', '.join(found)}]{place}"
        )


def _imports(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "Fn::ImportValue":
                yield member
            else:
                yield from _imports(member)
    elif isinstance(value, list):
        for member in value:
            yield from _imports(member)
