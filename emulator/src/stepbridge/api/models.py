"""botocore's service models: AWS's own description of every operation, loaded when first needed."""

from functools import cache

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

# The name in a request's SigV4 scope, where it is not the name of the model.
_SIGNING_NAMES = {"states": "stepfunctions", "iotdata": "iot-data", "iotdevicegateway": "iot-data"}


def service_of_signing_name(signing_name: str) -> str:
    """The model's name for the service that a request is signed for."""
    return _SIGNING_NAMES.get(signing_name, signing_name)


@cache
def service_model(service_name: str) -> ServiceModel:
    """The model of a service; raises botocore's UnknownServiceError if there is none."""
    return ServiceModel(Loader().load_service_model(service_name, "service-2"), service_name)


@cache
def operation_model(service_name: str, operation: str) -> OperationModel:
    """The model of one operation."""
    return service_model(service_name).operation_model(operation)


@cache
def has_operation(service_name: str, operation: str) -> bool:
    """Whether the service's model has the operation."""
    return operation in service_model(service_name).operation_names


@cache
def services_by_plain_name() -> dict[str, str]:
    """The names of all models by the same without hyphens: `servicequotas` → `service-quotas`."""
    return {name.replace("-", ""): name for name in Loader().list_available_services("service-2")}
