"""Messages of event streams, as botocore reads them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer

from stepbridge.api.models import operation_model
from stepbridge.api.protocols.event_stream import message, messages
from stepbridge.api.service import Members

EVENTS = operation_model("lambda", "InvokeWithResponseStream").output_shape.members["EventStream"]


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\n", b"x" * 70_000])
def test_a_message(payload: bytes) -> None:
    headers = {":event-type": "PayloadChunk", "ü": "ä" * 1000, "empty": ""}
    buffer = EventStreamBuffer()
    buffer.add_data(message(headers, payload) + message({}, b"next"))
    first, second = buffer
    assert (first.headers, first.payload) == (headers, payload)
    assert (second.headers, second.payload) == ({}, b"next")


@pytest.mark.parametrize("place", [0, 9, 14, -6, -1], ids=["length", "its checksum", "header", "payload", "checksum"])
def test_every_byte_is_checked(place: int) -> None:
    sent = bytearray(message({"name": "value"}, b"payload"))
    sent[place] ^= 1
    buffer = EventStreamBuffer()
    buffer.add_data(bytes(sent))
    with pytest.raises(ChecksumMismatch):
        list(buffer)


def test_events_are_a_blob_or_json() -> None:
    async def events() -> AsyncIterator[Members]:
        yield {"PayloadChunk": {"Payload": b"\x00{}"}}
        yield {"InvokeComplete": {"LogResult": "bG9n"}}
        yield {"InvokeComplete": {}}

    async def written() -> bytes:
        return b"".join([each async for each in messages(EVENTS, events())])

    buffer = EventStreamBuffer()
    buffer.add_data(asyncio.run(written()))
    read = [(each.headers, each.payload) for each in buffer]
    json_headers = {":event-type": "InvokeComplete", ":content-type": "application/json", ":message-type": "event"}
    assert read == [
        (
            {":event-type": "PayloadChunk", ":content-type": "application/octet-stream", ":message-type": "event"},
            b"\x00{}",
        ),
        (json_headers, b'{"LogResult":"bG9n"}'),
        (json_headers, b"{}"),
    ]
