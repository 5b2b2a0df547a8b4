"""What moto offers, read from its sources: importing its services to ask them would take seconds."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from botocore import xform_name

from stepbridge.api.models import service_model

_METHOD = re.compile(r"^    def (\w+)\(", re.MULTILINE)
_BY_NAME = ("json", "query", "ec2")  # protocols in which the request names the operation, and moto a method after it


def moto_offers(service: str, operation: str) -> bool:
    """Whether moto has `operation`, named as in botocore's model of `service`.

    Of the services whose operations are told apart by their paths only the service is looked for.
    """
    methods = _methods(service.replace("-", ""))
    if methods is None:
        return False
    return service_model(service).metadata["protocol"] not in _BY_NAME or xform_name(operation) in methods


@cache
def _methods(package: str) -> frozenset[str] | None:
    """The methods of the package that answers for a service, or None if there is none."""
    spec = find_spec("moto")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / package
    if not (folder / "urls.py").exists():
        return None
    sources = [*folder.glob("responses*.py"), *folder.glob("responses/*.py")]
    return frozenset(name for source in sources for name in _METHOD.findall(source.read_text()))
