"""The operations of the iot-data API on shadows.

https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-rest-api.html
"""

from typing import ClassVar

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members, Service
from stepbridge.clock import Clock
from stepbridge.iot.pages import read_token, write_token
from stepbridge.iot.shadows.document import Rejection, dump
from stepbridge.iot.shadows.keeper import Shadows
from stepbridge.iot.shadows.topics import ShadowName

_PAGE = 25  # names in one answer, unless the caller wants another number
_CODES = {
    400: "InvalidRequestException",
    404: "ResourceNotFoundException",
    409: "ConflictException",
    413: "RequestEntityTooLargeException",
    415: "UnsupportedDocumentEncodingException",
}


class ShadowService(Service):
    """GetThingShadow, UpdateThingShadow, DeleteThingShadow, ListNamedShadowsForThing."""

    service_name: ClassVar[str] = "iot-data"

    def __init__(self, shadows: Shadows, clock: Clock) -> None:
        self._shadows = shadows
        self._clock = clock

    async def get_thing_shadow(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        try:
            return {"payload": dump(self._shadows.get(_name(request)))}
        except Rejection as rejection:
            raise _error(rejection) from None

    async def update_thing_shadow(self, caller: Caller, request: Members) -> Members:
        """Raises what an update is rejected with: InvalidRequestException, ConflictException, …"""
        try:
            return {"payload": dump(self._shadows.update(_name(request), request["payload"]))}
        except Rejection as rejection:
            raise _error(rejection) from None

    async def delete_thing_shadow(self, caller: Caller, request: Members) -> Members:
        """Raises ResourceNotFoundException."""
        try:
            return {"payload": dump(self._shadows.delete(_name(request)))}
        except Rejection as rejection:
            raise _error(rejection) from None

    async def list_named_shadows_for_thing(self, caller: Caller, request: Members) -> Members:
        """The names of a thing's named shadows, a page at a time.  Raises InvalidRequestException."""
        after, size = _after(request.get("nextToken")), request.get("pageSize", _PAGE)
        names = self._shadows.names(request["thingName"], after, size + 1)
        answer: Members = {"results": names[:size], "timestamp": int(self._clock.now())}
        if len(names) > size:
            answer["nextToken"] = write_token(names[size - 1])
        return answer


def _name(request: Members) -> ShadowName:
    return ShadowName(request["thingName"], request.get("shadowName"))


def _error(rejection: Rejection) -> AwsError:
    return AwsError(_CODES[rejection.code], rejection.message)


def _after(token: str | None) -> str:
    if token is None:
        return ""
    try:
        return str(read_token(token))
    except ValueError:
        raise AwsError(
            "InvalidRequestException", "The nextToken is not one that ListNamedShadowsForThing has answered."
        ) from None
