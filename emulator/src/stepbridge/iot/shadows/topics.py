"""The reserved MQTT topics of shadows.

https://docs.aws.amazon.com/iot/latest/developerguide/reserved-topics.html#reserved-topics-shadow
"""

import re
from dataclasses import dataclass

_REQUEST = re.compile(r"\$aws/things/([^/]+)/shadow(?:/name/([^/]+))?/(get|update|delete)")
# The patterns of ThingName and ShadowName in the iot-data API.
_THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_SHADOW_NAME = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ShadowName:
    """Which shadow: that of a thing by a name, or the thing's classic shadow (`name` None)."""

    thing: str
    name: str | None = None

    def __str__(self) -> str:
        # So AWS names a shadow in its answers: 'thing', 'thing~name'.
        return self.thing if self.name is None else f"{self.thing}~{self.name}"

    @property
    def prefix(self) -> str:
        """What all topics of this shadow begin with."""
        return f"$aws/things/{self.thing}/shadow" + ("" if self.name is None else f"/name/{self.name}")

    @property
    def fault(self) -> str | None:
        """What is wrong with the names, or None."""
        if not _THING_NAME.fullmatch(self.thing):
            return "Invalid thing name"
        if self.name is not None and not _SHADOW_NAME.fullmatch(self.name):
            return "Invalid shadow name"
        return None


def parse_request(topic: str) -> tuple[ShadowName, str] | None:
    """The shadow and the operation (`get`, `update`, `delete`) that a message on a topic asks for, or None."""
    match = _REQUEST.fullmatch(topic)
    return None if match is None else (ShadowName(match[1], match[2]), match[3])
