"""Domain configurations, kept as they are given.

The device gateway answers on its own address whatever is configured here; but names, states and conflicts are those
of AWS, so that templates and scripts that make domain configurations run.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable.html
"""

import json
import secrets
from collections.abc import Callable
from typing import Any

from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import (
    RegistryCore,
    RegistryService,
    already_exists,
    invalid,
    not_found,
    present,
    slice_page,
)
from stepbridge.iot.registry.tags import set_tags

_KEPT = (
    "authorizerConfig",
    "tlsConfig",
    "serverCertificateConfig",
    "authenticationType",
    "applicationProtocol",
    "clientCertificateConfig",
)


class DomainService(RegistryService):
    """CreateDomainConfiguration … DeleteDomainConfiguration."""

    def __init__(self, core: RegistryCore, endpoint: Callable[[], str]) -> None:
        super().__init__(core)
        self._endpoint = endpoint

    async def create_domain_configuration(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceAlreadyExistsException, InvalidRequestException."""
        name = request["domainConfigurationName"]
        if request.get("serviceType", "DATA") != "DATA":
            raise invalid(
                f"A domain configuration with serviceType {request['serviceType']} is not emulated; use DATA."
            )
        if (existing := self._find(name)) is not None:
            raise already_exists(
                f"Domain configuration {name} already exists.", name, existing["domainConfigurationArn"]
            )
        if "domainName" in request and not request.get("serverCertificateArns"):
            raise invalid("A domain configuration with a domainName needs serverCertificateArns.")
        arn = self._core.arn("domainconfiguration", f"{name}/{secrets.token_hex(3)[:5]}")
        configuration = {
            "domainConfigurationName": name,
            "domainConfigurationArn": arn,
            "domainConfigurationStatus": "ENABLED",
            "serviceType": "DATA",
            "domainType": "CUSTOMER_MANAGED" if "domainName" in request else "AWS_MANAGED",
            "serverCertificates": [
                {"serverCertificateArn": certificate, "serverCertificateStatus": "VALID"}
                for certificate in request.get("serverCertificateArns", [])
            ],
            "lastStatusChangeDate": self._core.clock.now(),
            **{member: request[member] for member in ("domainName", *_KEPT) if member in request},
        }
        self._keep(configuration)
        set_tags(self._store, arn, request.get("tags", []))
        await self._store.committed()
        return {"domainConfigurationName": name, "domainConfigurationArn": arn}

    async def describe_domain_configuration(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException.  `iot:Data-ATS` is there from the beginning."""
        name = request["domainConfigurationName"]
        if name == "iot:Data-ATS" and self._find(name) is None:
            return {
                "domainConfigurationName": name,
                "domainConfigurationArn": self._core.arn("domainconfiguration", f"{name}/default"),
                "domainName": self._endpoint(),
                "domainConfigurationStatus": "ENABLED",
                "serviceType": "DATA",
                "domainType": "ENDPOINT",
            }
        configuration = self._configuration(name)
        return {"domainName": self._endpoint(), **configuration}

    async def update_domain_configuration(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        configuration = self._configuration(request["domainConfigurationName"])
        status = request.get("domainConfigurationStatus", configuration["domainConfigurationStatus"])
        if status != configuration["domainConfigurationStatus"]:
            configuration["domainConfigurationStatus"] = status
            configuration["lastStatusChangeDate"] = self._core.clock.now()
        configuration.update({member: request[member] for member in _KEPT if member in request})
        if request.get("removeAuthorizerConfig", False):
            configuration.pop("authorizerConfig", None)
        self._keep(configuration)
        await self._store.committed()
        return {
            "domainConfigurationName": configuration["domainConfigurationName"],
            "domainConfigurationArn": configuration["domainConfigurationArn"],
        }

    async def delete_domain_configuration(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException, InvalidRequestException while it is enabled."""
        name = request["domainConfigurationName"]
        configuration = self._configuration(name)
        if configuration["domainConfigurationStatus"] != "DISABLED":
            raise invalid(f"Domain configuration {name} must be DISABLED before it is deleted.")
        self._store.execute("DELETE FROM iot_domain WHERE name = ?", (name,))
        set_tags(self._store, configuration["domainConfigurationArn"], None)
        await self._store.committed()
        return {}

    async def list_domain_configurations(self, caller: Caller, request: Members) -> Members:
        """All of them, by name."""
        rows = self._store.query("SELECT configuration FROM iot_domain")
        found = {
            entry["domainConfigurationName"]: entry for row in rows for entry in [json.loads(row["configuration"])]
        }
        names, marker = slice_page(sorted(found), request.get("marker"), request.get("pageSize", 25))
        members = ("domainConfigurationName", "domainConfigurationArn", "serviceType")
        configurations = [{member: found[name][member] for member in members} for name in names]
        return present(domainConfigurations=configurations, nextMarker=marker)

    def _keep(self, configuration: dict[str, Any]) -> None:
        row = (configuration["domainConfigurationName"], json.dumps(configuration))
        self._store.execute("INSERT OR REPLACE INTO iot_domain VALUES (?, ?)", row)

    def _find(self, name: str) -> dict[str, Any] | None:
        row = self._store.query_one("SELECT configuration FROM iot_domain WHERE name = ?", (name,))
        configuration: dict[str, Any] | None = json.loads(row["configuration"]) if row is not None else None
        return configuration

    def _configuration(self, name: str) -> dict[str, Any]:
        configuration = self._find(name)
        if configuration is None:
            raise not_found(f"Domain configuration {name} does not exist.")
        return configuration
