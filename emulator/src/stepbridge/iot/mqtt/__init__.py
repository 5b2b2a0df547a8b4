"""MQTT 3.1.1 and 5 as values: packets to and from bytes, topics, and what one connection may do.  No I/O, no clock.

:mod:`~stepbridge.iot.mqtt.packets` says what a packet is, :mod:`~stepbridge.iot.mqtt.codec` turns bytes into packets
and back, :mod:`~stepbridge.iot.mqtt.topics` knows names and filters, and :mod:`~stepbridge.iot.mqtt.session` is the
server's side of one connection with the limits of AWS IoT Core.
"""
