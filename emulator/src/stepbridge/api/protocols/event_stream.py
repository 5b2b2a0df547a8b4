"""Answers in parts: each part is an event, in a binary message that has a length, headers, a payload and checksums.

The format of messages: https://smithy.io/2.0/aws/amazon-eventstream.html
What an event's headers and payload are: https://smithy.io/2.0/spec/streaming.html#event-streams
botocore reads such messages and does not write them.
"""

import struct
from collections.abc import AsyncIterator, Mapping
from zlib import crc32

from botocore.model import StructureShape

from stepbridge.api.protocols import json_values
from stepbridge.api.service import Members

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # the type of a header's value


async def messages(shape: StructureShape, events: AsyncIterator[Members]) -> AsyncIterator[bytes]:
    """The messages of `events`, each of which has one member of the union `shape`."""
    async for event in events:
        for name, members in event.items():
            payload, content_type = _payload(shape.members[name], members)
            yield message({":event-type": name, ":content-type": content_type, ":message-type": "event"}, payload)


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    lengths = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    checked = lengths + struct.pack("!I", crc32(lengths)) + encoded + payload
    return checked + struct.pack("!I", crc32(checked))


def _header(name: str, value: str) -> bytes:
    name_bytes, value_bytes = name.encode(), value.encode()
    return struct.pack("!B", len(name_bytes)) + name_bytes + struct.pack("!BH", _STRING, len(value_bytes)) + value_bytes


def _payload(shape: StructureShape, members: Members) -> tuple[bytes, str]:
    """What an event has in its message, and the content type of that: the blob that is all of it, or JSON."""
    for name, member in shape.members.items():
        if member.serialization.get("eventpayload") and member.type_name == "blob":
            return members[name], "application/octet-stream"
    return json_values.dump_body(json_values.write_structure(shape, members)), "application/json"
