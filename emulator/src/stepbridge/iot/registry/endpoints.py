"""The addresses that devices and applications connect to.

https://docs.aws.amazon.com/iot/latest/apireference/API_DescribeEndpoint.html
"""

from collections.abc import Callable

from stepbridge.api.service import Caller, Members
from stepbridge.iot.registry.core import RegistryCore, RegistryService, invalid

_TYPES = frozenset({"iot:Data", "iot:Data-ATS", "iot:CredentialProvider", "iot:Jobs"})


class EndpointService(RegistryService):
    """DescribeEndpoint.

    AWS answers with a host name, whose ports (8883, 443) everybody knows.  Here the port may be any, so the answer is
    `host:port`: what `https://{endpointAddress}` needs, as code that makes an iot-data client from it does.  An MQTT
    client takes host and port apart: both are in `stepbridge up --ready-file` too.
    """

    def __init__(self, core: RegistryCore, endpoint: Callable[[], str]) -> None:
        super().__init__(core)
        self._endpoint = endpoint

    async def describe_endpoint(self, caller: Caller, request: Members) -> Members:
        """Every type is served by the one device gateway.  Raises InvalidRequestException."""
        wanted = request.get("endpointType", "iot:Data")
        if wanted not in _TYPES:
            raise invalid(f"Endpoint type {wanted} not recognized.")
        return {"endpointAddress": self._endpoint()}
