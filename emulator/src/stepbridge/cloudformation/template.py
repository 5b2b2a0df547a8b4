"""Template text, JSON or YAML, to values, remembering on which line each of them stands.

The short forms of YAML (`!Sub`, `!GetAtt a.b`) become the long ones (`{"Fn::Sub": …}`), so that everything after this
file knows one form.  CloudFormation reads YAML 1.1 without aliases, merge keys and the timestamp, binary, set and
omap tags (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from stepbridge.cloudformation.errors import TemplateError

Path = tuple[str | int, ...]

SECTIONS = frozenset({
    "AWSTemplateFormatVersion", "Conditions", "Description", "Globals", "Hooks", "Mappings", "Metadata", "Outputs",
    "Parameters", "Resources", "Rules", "Transform",
})  # fmt: skip
RESOURCE_ATTRIBUTES = frozenset({
    "Condition", "Connectors", "CreationPolicy", "DeletionPolicy", "DependsOn", "IgnoreGlobals", "Metadata",
    "Properties", "Type", "UpdatePolicy", "UpdateReplacePolicy",
})  # fmt: skip

LOOP = "Fn::ForEach::"
LOOPING_SECTIONS = ("Conditions", "Outputs", "Resources")  # those in which there may be loops
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_MOST = {"Mappings": 200, "Outputs": 200, "Parameters": 200, "Resources": 500}

_PLAIN_TAGS = {"!Ref": "Ref", "!Condition": "Condition"}
_FUNCTION_TAGS = frozenset({
    "!And", "!Base64", "!Cidr", "!Contains", "!Equals", "!FindInMap", "!GetAtt", "!GetAZs", "!If", "!ImportValue",
    "!Join", "!Length", "!Not", "!Or", "!Select", "!Split", "!Sub", "!ToJsonString", "!Transform",
})  # fmt: skip
_SCALAR_TAGS = frozenset({f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")})

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Template:
    """A template: its `text`, its `body` as plain values with long-form intrinsics, and the lines of its parts."""

    def __init__(self, text: str, body: dict[str, Any], lines: Mapping[Path, int]) -> None:
        self.text = text
        self.body = body
        self._lines = lines

    def section(self, name: str) -> dict[str, Any]:
        """A section of the template that is a map, empty where it is absent."""
        section = self.body.get(name)
        return section if isinstance(section, dict) else {}

    @property
    def resources(self) -> dict[str, Any]:
        return self.section("Resources")

    @property
    def resource_types(self) -> set[str]:
        """The types of its resources, those in loops included."""
        return set(_types(self.resources))

    @property
    def transforms(self) -> list[Any]:
        """The names of the transforms that the template declares."""
        declared = self.body.get("Transform", [])
        return declared if isinstance(declared, list) else [declared]

    def line(self, *path: str | int) -> int | None:
        """The line, from 1, of the part at `path` or of the nearest part around it that is not a whole section."""
        asked = path
        while len(path) > 1 or path == asked:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None

    def place(self, *path: str | int) -> str:
        """` (line n)` for an error message, or nothing where the line is unknown."""
        line = self.line(*path)
        return f" (line {line})" if line else ""

    def with_body(self, body: dict[str, Any]) -> "Template":
        """The same text read as another body: what a transform made of it."""
        return Template(self.text, body, self._lines)


def parse_template(text: str) -> Template:
    """Read a template.

    Raises TemplateError with CloudFormation's text if it is not well-formed, uses what CloudFormation's YAML does not
    have, or is not a map of the known sections with at least one resource.
    """
    template = _parse_json(text) if text.lstrip().startswith("{") else _parse_yaml(text)
    check_shape(template)
    return template


def _parse_json(text: str) -> Template:
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        try:  # a YAML flow mapping starts with a brace, too
            return _parse_yaml(text)
        except TemplateError:
            raise TemplateError(
                f"Template format error: JSON not well-formed. (line {error.lineno}, column {error.colno})"
            ) from None
    try:
        lines = _parse_yaml(text)._lines
    except TemplateError:  # JSON that is not YAML (a tab, an escaped surrogate): only the lines are lost
        lines = {}
    return Template(text, body, lines)


def _parse_yaml(text: str) -> Template:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        reader = _NodeReader(loader)
        body = reader.read(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise TemplateError(f"Template format error: YAML not well-formed.{where}") from None
    except yaml.YAMLError:
        raise TemplateError("Template format error: YAML not well-formed.") from None
    finally:
        loader.dispose()
    return Template(text, body, reader.lines)  # type: ignore[arg-type]  # checked to be a dict by _check_shape


class _NodeReader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._seen: set[int] = set()
        self.lines: dict[Path, int] = {}

    def read(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            raise TemplateError(
                f"Template error: YAML aliases are not allowed in CloudFormation templates (line {line})"
            )
        self._seen.add(id(node))
        self.lines.setdefault(path, line)
        if not node.tag.startswith("!"):
            return self._value(node, path)
        if node.tag in _PLAIN_TAGS:
            return {_PLAIN_TAGS[node.tag]: self._value(node, path)}
        if node.tag not in _FUNCTION_TAGS:
            raise TemplateError(f"Template format error: unsupported tag {node.tag} (line {line})")
        name = f"Fn::{node.tag[1:]}"
        value = self._value(node, (*path, name))
        if node.tag == "!GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {name: value}

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            result = {}
            for key_node, value_node in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    raise TemplateError(
                        "Template error: YAML merge keys are not supported in CloudFormation templates "
                        f"(line {key_node.start_mark.line + 1})"
                    )
                if not isinstance(key_node, yaml.ScalarNode):
                    raise TemplateError("Template format error: YAML not well-formed.")
                self.lines[(*path, key_node.value)] = key_node.start_mark.line + 1
                result[key_node.value] = self.read(value_node, (*path, key_node.value))
            return result
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if node.tag in _SCALAR_TAGS:
            try:
                return self._loader.construct_object(node)
            except ValueError:
                return node.value
        return node.value


def check_shape(template: Template) -> None:
    """Raise TemplateError for a template that is not built like one."""
    body: Any = template.body
    if not isinstance(body, dict):
        raise TemplateError("Template format error: unsupported structure.")
    unknown = [name for name in body if name not in SECTIONS]
    if unknown:
        raise TemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    version = body.get("AWSTemplateFormatVersion", "2010-09-09")
    if version != "2010-09-09":
        raise TemplateError(f"Template format error: {version} is not a supported value for AWSTemplateFormatVersion.")
    for name in ("Resources", "Parameters", "Conditions", "Mappings", "Outputs", "Metadata", "Globals"):
        if name in body and not isinstance(body[name], dict):
            if body[name] is None:
                raise TemplateError(f"[/{name}] 'null' values are not allowed in templates")
            raise TemplateError(f"Template format error: {name} must be an object.{template.place(name)}")
    for name in ("Hooks", "Rules"):
        if name in body:
            raise TemplateError(f"The section {name} is not supported by stepbridge{template.place(name)}")
    if not template.resources:
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    check_size(template)
    _check_mappings(template)
    for logical_id, resource in template.resources.items():
        if not logical_id.startswith(LOOP):
            _check_resource(template, logical_id, resource)
        elif "AWS::LanguageExtensions" not in template.transforms:
            place = template.place("Resources", logical_id)
            raise TemplateError(
                f"Template format error: Resource name {logical_id} is non alphanumeric. Fn::ForEach needs Transform: "
                f"AWS::LanguageExtensions.{place}"
            )


def check_size(template: Template) -> None:
    """Raise TemplateError if a section has more members than CloudFormation allows."""
    for name, most in _MOST.items():
        if (number := len(template.section(name))) > most:
            raise TemplateError(
                f"Template format error: Number of {name.lower()}, {number}, is greater than maximum allowed, {most}"
            )


def _check_mappings(template: Template) -> None:
    for name, mapping in template.section("Mappings").items():
        place = template.place("Mappings", name)
        if not isinstance(mapping, dict) or not all(isinstance(values, dict) for values in mapping.values()):
            raise TemplateError(f"Template format error: Every Mappings member must be a map of maps: {name}.{place}")
        for values in mapping.values():
            if any(value is None or isinstance(value, dict) for value in values.values()):
                raise TemplateError(
                    f"Template format error: Every Mappings attribute must be a String or a List.{place}"
                )


def _types(value: Any) -> Iterator[str]:
    """The types of the resources of a section, or of the fragment of a loop."""
    for name, member in value.items() if isinstance(value, dict) else ():
        if name.startswith(LOOP) and isinstance(member, list):
            yield from _types(member[-1])
        elif isinstance(member, dict) and isinstance(member.get("Type"), str):
            yield member["Type"]


def _check_resource(template: Template, logical_id: str, resource: Any) -> None:
    place = template.place("Resources", logical_id)
    if not logical_id.isalnum() or not logical_id.isascii():
        raise TemplateError(f"Template format error: Resource name {logical_id} is non alphanumeric.")
    if not isinstance(resource, dict):
        raise TemplateError(
            f"Template format error: [/Resources/{logical_id}] Every Resources member must be an object.{place}"
        )
    if not isinstance(resource.get("Type"), str):
        raise TemplateError(
            f"Template format error: [/Resources/{logical_id}] Every Resources object must contain a Type member."
            f"{place}"
        )
    for name in resource:
        if name not in RESOURCE_ATTRIBUTES:
            raise TemplateError(f"Invalid template resource property '{name}'{place}")
    depends_on = resource.get("DependsOn", [])
    names = depends_on if isinstance(depends_on, list) else [depends_on]
    if not all(isinstance(name, str) for name in names):
        raise TemplateError(f"Template format error: DependsOn must be a string or list of strings.{place}")
    if not isinstance(resource.get("Properties", {}), dict):
        raise TemplateError(f"Template format error: [/Resources/{logical_id}/Properties] must be an object.{place}")
    _refuse_null(resource.get("Properties", {}), f"/Resources/{logical_id}/Properties")


def _refuse_null(value: Any, path: str) -> None:
    if value is None:
        raise TemplateError(f"[{path}] 'null' values are not allowed in templates")
    if isinstance(value, dict):
        for name, member in value.items():
            _refuse_null(member, f"{path}/{name}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _refuse_null(member, f"{path}/{index}")
