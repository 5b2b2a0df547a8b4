"""The message broker of AWS IoT Core: the device gateway, and the message cores behind it.

:class:`Broker` is what the rest of the emulator sees.  The gateway (:mod:`~stepbridge.iot.broker.gateway`) terminates
mutual TLS and enforces policies and limits; a core (:mod:`~stepbridge.iot.broker.core`) keeps sessions, queues and
retained messages: in this process (:mod:`~stepbridge.iot.broker.embedded`), or on a real Mosquitto
(:mod:`~stepbridge.iot.broker.mosquitto`).
"""

from stepbridge.iot.broker.broker import Broker
from stepbridge.iot.broker.embedded import EmbeddedCore

__all__ = ["Broker", "EmbeddedCore"]
