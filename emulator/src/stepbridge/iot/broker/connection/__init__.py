"""One device's connection: from the bytes of its socket to decisions, and back.

The protocol is :class:`~stepbridge.iot.mqtt.session.ServerSession`'s business, storage and fan-out the core's.  What
is done here is what AWS IoT Core's device gateway does: ask whether the policy allows it, tell the trace, and do it.

There may be ten thousand connections, so each is one object, made of layers: `stream` (bytes in and out, and who has
to wait), on that `life` (who it is, how long it lasts, how it ends), on that `messages` and `subscriptions` (what comes
and goes on a connection), and on top `device` (CONNECT, and which packet is whose business).  A layer knows those below
it; none of them adds an object to a connection.
"""

from stepbridge.iot.broker.connection.device import DeviceConnection
from stepbridge.iot.broker.connection.life import CLOSE_TIMEOUT

__all__ = ["CLOSE_TIMEOUT", "DeviceConnection"]
