"""Marker and MaxItems, by which the Lambda API lists in pages."""

from typing import Any

from stepbridge.api.service import Members
from stepbridge.functions.refusals import invalid

_PAGE = 50


def page(member: str, found: list[Any], request: Members, *, most: int = _PAGE) -> Members:
    """The part of `found` that `request` asks for, as `member`, with NextMarker if there is more.

    `most` is how many an answer has at most, where AWS gives another number than for most operations.
    """
    marker = request.get("Marker") or "0"
    if not marker.isdecimal():
        raise invalid("The marker is invalid.")
    start = int(marker)
    end = start + min(request.get("MaxItems", most), most)
    answer: Members = {member: found[start:end]}
    if end < len(found):
        answer["NextMarker"] = str(end)
    return answer
