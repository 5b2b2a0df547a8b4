"""Templates: those of stacks and change sets, and what is to be known of one before it is used."""

import json

from stepbridge.api.service import Caller, Members
from stepbridge.cloudformation.parameters import as_text
from stepbridge.cloudformation.service.core import Core
from stepbridge.cloudformation.service.requests import parse
from stepbridge.cloudformation.sources import template_text, validation_error
from stepbridge.cloudformation.template import Template


class TemplateOperations(Core):
    """The operations on templates."""

    async def get_template(self, caller: Caller, request: Members) -> Members:
        if "ChangeSetName" in request:
            source = self._change_set(request)
        elif "StackName" in request:
            source = self._stack(request["StackName"])
        else:
            raise validation_error("StackName is required")
        stage = request.get("TemplateStage", "Original")
        text = source.get("processed" if stage == "Processed" else "template")
        if text is None:
            raise validation_error(f"Template is not available for {source['StackName']}")
        return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}

    async def get_template_summary(self, caller: Caller, request: Members) -> Members:
        if "StackName" in request:
            text = self._stack(request["StackName"]).get("template") or ""
        else:
            text = await template_text(self._calls, request, None)
        template = parse(text)
        summary = {
            "Parameters": [
                {
                    "ParameterKey": name,
                    "ParameterType": declaration.get("Type"),
                    "NoEcho": as_text(declaration.get("NoEcho", False)) == "true",
                    "ParameterConstraints": {
                        "AllowedValues": [as_text(value) for value in declaration.get("AllowedValues", [])]
                    },
                    **({"DefaultValue": as_text(declaration["Default"])} if "Default" in declaration else {}),
                    **({"Description": declaration["Description"]} if "Description" in declaration else {}),
                }
                for name, declaration in template.section("Parameters").items()
            ],
            "ResourceTypes": sorted(template.resource_types),
            "Version": template.body.get("AWSTemplateFormatVersion"),
            "Description": template.body.get("Description"),
            "DeclaredTransforms": template.transforms,
            "Metadata": json.dumps(template.body["Metadata"]) if "Metadata" in template.body else None,
            **_declared_capabilities(template),
        }
        return {name: value for name, value in summary.items() if value is not None}

    async def validate_template(self, caller: Caller, request: Members) -> Members:
        summary = await self.get_template_summary(caller, request)
        parameters = [
            {name: value for name, value in each.items() if name not in {"ParameterType", "ParameterConstraints"}}
            for each in summary["Parameters"]
        ]
        kept = ("Description", "DeclaredTransforms", "Capabilities", "CapabilitiesReason")
        return {"Parameters": parameters, **{name: summary[name] for name in kept if name in summary}}


def _declared_capabilities(template: Template) -> Members:
    found = [each for each in template.resource_types if each.startswith("AWS::IAM::")]
    if not found:
        return {}
    reason = f"The following resource(s) require capabilities: [{', '.join(sorted(found))}]"
    return {"Capabilities": ["CAPABILITY_IAM"], "CapabilitiesReason": reason}
