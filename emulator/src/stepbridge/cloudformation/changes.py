"""What an update would change: the resources of a stack beside those of a blueprint."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepbridge.cloudformation.blueprint import Blueprint, Declaration, find_type
from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.resources.base import Made
from stepbridge.cloudformation.resources.custom import is_custom
from stepbridge.cloudformation.resources.shapes import KNOWN_AFTER_APPLY


@dataclass(frozen=True, slots=True)
class Existing:
    """A resource that a stack has: as it was declared, resolved and made."""

    logical_id: str
    type_name: str
    made: Made
    properties: Mapping[str, Any]
    dependencies: frozenset[str]
    deletion_policy: str = "Delete"
    replacement_policy: str = "Delete"
    metadata: Any = None
    shown: Mapping[str, Any] | None = None  # the properties without what is secret, where that differs

    def value(self, attribute: str | None) -> Any:
        """What `Ref` (None) or `Fn::GetAtt` gives.  Raises TemplateError if a custom resource has no such attribute."""
        if attribute is None:
            return self.made.physical_id
        if attribute not in self.made.attributes and is_custom(self.type_name):
            raise TemplateError(
                f"CustomResource attribute error: Vendor response doesn't contain {attribute} attribute in object "
                f"{self.logical_id}"
            )
        return self.made.attributes.get(attribute, "")

    def shown_value(self, attribute: str | None) -> Any:
        """The same as an event may show it."""
        return "*****" if attribute is not None and self.made.secret else self.value(attribute)


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that an update adds, modifies or removes; `replacement` is a member of CloudFormation's enum."""

    action: str
    logical_id: str
    type_name: str
    physical_id: str | None = None
    replacement: str | None = None
    scope: tuple[str, ...] = ()
    properties: tuple[tuple[str, bool], ...] = field(default=())  # changed property, whether it takes a new resource


def changes(existing: Mapping[str, Existing], blueprint: Blueprint) -> list[Change]:
    """The changes, in the order of CloudFormation's list: by logical id."""
    new_values: set[str] = set()  # resources whose values change: added, replaced, or up to their provider
    found: list[Change] = []

    def value(name: str, attribute: str | None) -> Any:
        return KNOWN_AFTER_APPLY if name in new_values else existing[name].value(attribute)

    for declaration in blueprint.resources.values():
        before = existing.get(declaration.logical_id)
        if before is None:
            new_values.add(declaration.logical_id)
            found.append(Change("Add", declaration.logical_id, declaration.type_name))
            continue
        properties = blueprint.resolved(declaration, value)
        change = _modification(before, declaration, properties)
        if change is not None:
            found.append(change)
            if change.replacement == "True" or is_custom(declaration.type_name):
                new_values.add(declaration.logical_id)
    for name, before in existing.items():
        if name not in blueprint.resources:
            found.append(Change("Remove", name, before.type_name, before.made.physical_id))
    return sorted(found, key=lambda change: change.logical_id)


def differs(stack: Mapping[str, Any], existing: Mapping[str, Existing], blueprint: Blueprint) -> bool:
    """Whether a stack, which has these resources, would become another one: in resources, outputs or tags."""
    if changes(existing, blueprint):
        return True
    try:
        outputs = blueprint.outputs(lambda name, attribute: existing[name].value(attribute))
    except TemplateError:
        return True
    if outputs != stack.get("Outputs", []):
        return True
    return dict(blueprint.tags) != {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}


def _modification(before: Existing, declaration: Declaration, properties: Mapping[str, Any]) -> Change | None:
    if before.type_name != declaration.type_name:
        return Change(
            "Modify", before.logical_id, declaration.type_name, before.made.physical_id, "True", ("Properties",)
        )
    declared = find_type(declaration.type_name).properties
    changed = tuple(
        (name, name in declared and declared[name].replace) for name in _differences(before.properties, properties)
    )
    scope = tuple(
        name
        for name, differs in (
            ("Properties", bool(changed)),
            ("Metadata", before.metadata != declaration.metadata),
            ("DeletionPolicy", before.deletion_policy != declaration.deletion_policy),
            ("UpdateReplacePolicy", before.replacement_policy != declaration.replacement_policy),
        )
        if differs
    )
    if not scope:
        return None
    replaced = find_type(declaration.type_name).needs_replacement(before.properties, properties)
    return Change("Modify", before.logical_id, before.type_name, before.made.physical_id, str(replaced), scope, changed)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name
