"""Timestamps of the Amazon States Language: RFC 3339 with an upper-case T and a Z or an offset."""

import re
from datetime import UTC, datetime, timedelta, timezone

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse(text: object) -> float | None:
    """Seconds since the epoch, or None if `text` is not a timestamp."""
    if not isinstance(text, str) or (match := _TIMESTAMP.fullmatch(text)) is None:
        return None
    fraction = float(f"0.{match.group(7)}") if match.group(7) else 0.0
    zone = UTC
    if match.group(8):
        offset = timedelta(hours=int(match.group(9)), minutes=int(match.group(10)))
        if offset >= timedelta(hours=24):
            return None
        zone = timezone(offset if match.group(8) == "+" else -offset)
    try:
        return datetime(*(int(match.group(part)) for part in range(1, 7)), tzinfo=zone).timestamp() + fraction  # type: ignore[misc,arg-type]
    except (ValueError, OverflowError):
        return None
