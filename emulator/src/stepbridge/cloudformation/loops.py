"""What the transform AWS::LanguageExtensions rewrites: loops, and references by names that are computed.

`Fn::ForEach` gives a fragment once for each item of a collection; `Ref` and `Fn::GetAtt` take functions for names.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-foreach.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/transform-aws-languageextensions.html
"""

import re
from collections.abc import Mapping
from typing import Any

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.intrinsics import LANGUAGE_EXTENSIONS, Scope, resolve
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.template import LOOP, LOOPING_SECTIONS, Template, check_shape

_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]")


def unrolled(template: Template, scope: Scope) -> Template:
    """The template without loops and computed names; itself if it does not declare the transform.

    `scope` has what collections and names may refer to: parameters and mappings.  Raises TemplateError.
    """
    if LANGUAGE_EXTENSIONS not in template.transforms:
        return template
    sections = {name: _unroll(template.section(name), {}, scope) for name in LOOPING_SECTIONS if name in template.body}
    result = template.with_body({**template.body, **sections})
    check_shape(result)
    return result


def _unroll(value: Any, items: Mapping[str, str], scope: Scope) -> Any:
    """`value` with its loops unrolled; `items` are the current ones of the loops around it, by their identifiers."""
    if isinstance(value, str):
        return _filled(value, items)
    if isinstance(value, list):
        return [_unroll(member, items, scope) for member in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and isinstance(value.get("Ref"), str) and value["Ref"] in items:
        return items[value["Ref"]]
    result: dict[str, Any] = {}
    for name, member in value.items():
        looped = _loop(name, member, items, scope) if name.startswith(LOOP) else [(_filled(name, items), member, items)]
        for key, fragment, within in looped:
            if key in result:
                raise _failed(f"the key {key} is there twice")
            result[key] = _unroll(fragment, within, scope)
    return _with_plain_names(result, scope)


def _with_plain_names(value: dict[str, Any], scope: Scope) -> dict[str, Any]:
    match value:
        case {"Ref": dict(name), **others} if not others:
            return {"Ref": resolve(name, scope)}
        case {"Fn::GetAtt": [dict(name), *attribute], **others} if not others:
            return {"Fn::GetAtt": [resolve(name, scope), *attribute]}
    return value


def _loop(
    name: str, arguments: Any, items: Mapping[str, str], scope: Scope
) -> list[tuple[str, Any, Mapping[str, str]]]:
    """Each key and fragment that a loop makes, with the items that hold in it."""
    if not isinstance(arguments, list) or len(arguments) != 3:
        raise _failed(f"{name} layout is incorrect")
    identifier, collection, fragments = arguments
    if not isinstance(identifier, str) or not isinstance(fragments, dict) or identifier in items:
        raise _failed(f"{name} layout is incorrect")
    values = resolve(_unroll(collection, items, scope), scope)
    if not isinstance(values, list) or any(isinstance(each, (dict, list)) for each in values):
        raise _failed(f"{name}: the collection must be a list of strings")
    found: list[tuple[str, Any, Mapping[str, str]]] = []
    for each in values:
        within = {**items, identifier: as_text(each)}
        for key, fragment in fragments.items():
            if key.startswith(LOOP):
                found += _loop(key, fragment, within, scope)
            elif "${" + identifier + "}" in key or "&{" + identifier + "}" in key:
                found.append((_filled(key, within), fragment, within))
            else:
                raise _failed(f"{name}: the key {key} must contain ${{{identifier}}} or &{{{identifier}}}")
    return found


def _filled(text: str, items: Mapping[str, str]) -> str:
    for identifier, item in items.items():
        text = text.replace("${" + identifier + "}", item)
        text = text.replace("&{" + identifier + "}", _NOT_ALPHANUMERIC.sub("", item))
    return text


def _failed(reason: str) -> TemplateError:
    return TemplateError(f"Transform {LANGUAGE_EXTENSIONS} failed with: {reason}")
