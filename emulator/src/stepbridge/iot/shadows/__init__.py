"""Device shadows: a document per thing and name that keeps what a device reports and what is desired of it.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-device-shadows.html

- ``document``: requests, merging, deltas and the documents that answer; pure
- ``topics``: the reserved MQTT topics of a shadow
- ``keeper``: the stored shadows, and what is published when one changes
- ``service``: the operations of the iot-data API
"""

from stepbridge.iot.shadows.keeper import Shadows
from stepbridge.iot.shadows.service import ShadowService

__all__ = ["ShadowService", "Shadows"]
