"""The transform `AWS::Serverless-2016-10-31`, carried out by AWS's own aws-sam-translator."""

import copy
import importlib
from collections.abc import Mapping
from typing import Any

from stepbridge.cloudformation.errors import TemplateError
from stepbridge.cloudformation.intrinsics import LANGUAGE_EXTENSIONS
from stepbridge.cloudformation.template import Template

SERVERLESS = "AWS::Serverless-2016-10-31"


class _Session:
    """All that the translator wants of a boto3 session: the region."""

    def __init__(self, region: str) -> None:
        self.region_name = region


def check_transforms(template: Template) -> None:
    """Raise TemplateError if the template declares a transform (a macro) that the emulator does not have."""
    for name in template.transforms:
        if name not in {SERVERLESS, LANGUAGE_EXTENSIONS}:
            shown = name.get("Name") if isinstance(name, dict) else name
            raise TemplateError(
                f"No transform named {shown} found. stepbridge has {SERVERLESS} and {LANGUAGE_EXTENSIONS}."
                f"{template.place('Transform')}"
            )


def load_translator() -> None:
    """Import the translator, which takes about a second: fit for another thread."""
    importlib.import_module("samtranslator.translator.translator")


def expand(template: Template, parameters: Mapping[str, Any], region: str) -> Template:
    """The template with its `AWS::Serverless::*` resources as plain CloudFormation; itself if it declares no transform.

    `parameters` are the values of its parameters, as `Ref` gives them.  Raises TemplateError with the words of
    AWS::Serverless-2016-10-31 if the serverless resources are not valid.
    """
    if SERVERLESS not in template.transforms:
        return template
    from samtranslator.metrics.metrics import DummyMetricsPublisher, Metrics
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.utils.py27hash_fix import to_py27_compatible_template, undo_mark_unicode_str_in_template

    metrics = Metrics("stepbridge", DummyMetricsPublisher())
    body = copy.deepcopy(template.body)
    values = dict(parameters)
    # The translator derives logical ids of versions and deployments from hashes of what it reads, in this order.
    to_py27_compatible_template(body, values)
    try:
        translated = Translator(None, Parser(), boto_session=_Session(region), metrics=metrics).translate(
            body, parameter_values=values, get_managed_policy_map=dict
        )
    except InvalidDocumentException as error:
        causes = " ".join(cause.message for cause in error.causes)
        raise TemplateError(f"Transform {SERVERLESS} failed with: {error.message} {causes}") from None
    finally:
        metrics.publish()  # to nobody; unpublished ones would be complained about
    return template.with_body(undo_mark_unicode_str_in_template(translated))
