"""Time zones and their English names, which the database of zones does not have.

What Java calls the zones where most people live; other zones are shown by their offset.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones


@dataclass(frozen=True, slots=True)
class ZoneNames:
    """The names of a zone and of those that go with it; those of summer are empty where there is none."""

    zone: str
    standard: str
    summer: str
    long_standard: str
    long_summer: str


def _zone(zone: str, short: str, name: str, summer: str = "Daylight") -> ZoneNames:
    """A zone whose long names differ in one word; `short` is its short names, `EST/EDT` or one of them."""
    standard, _, in_summer = short.partition("/")
    standard_name = name if name.endswith("Time") else f"{name} Standard Time"
    return ZoneNames(zone, standard, in_summer, standard_name, f"{name} {summer} Time" if in_summer else "")


# The first of those with the same short name is what Java reads it as.
ZONES = [
    ZoneNames("UTC", "UTC", "", "Coordinated Universal Time", ""),
    ZoneNames("GMT", "GMT", "", "Greenwich Mean Time", ""),
    _zone("Asia/Kolkata", "IST", "India"),
    _zone("America/New_York", "EST/EDT", "Eastern"),
    _zone("America/Chicago", "CST/CDT", "Central"),
    _zone("America/Denver", "MST/MDT", "Mountain"),
    _zone("America/Los_Angeles", "PST/PDT", "Pacific"),
    _zone("America/Anchorage", "AKST/AKDT", "Alaska"),
    _zone("Pacific/Honolulu", "HST", "Hawaii-Aleutian"),
    _zone("America/Halifax", "AST/ADT", "Atlantic"),
    _zone("America/St_Johns", "NST/NDT", "Newfoundland"),
    _zone("America/Sao_Paulo", "BRT", "Brasilia"),
    _zone("America/Argentina/Buenos_Aires", "ART", "Argentina"),
    _zone("America/Santiago", "CLT/CLST", "Chile", "Summer"),
    _zone("America/Bogota", "COT", "Colombia"),
    _zone("America/Lima", "PET", "Peru"),
    _zone("America/Caracas", "VET", "Venezuela Time"),
    ZoneNames("Europe/London", "GMT", "BST", "Greenwich Mean Time", "British Summer Time"),
    ZoneNames("Europe/Dublin", "GMT", "IST", "Greenwich Mean Time", "Irish Standard Time"),
    _zone("Europe/Lisbon", "WET/WEST", "Western European", "Summer"),
    _zone("Europe/Paris", "CET/CEST", "Central European", "Summer"),
    _zone("Europe/Bucharest", "EET/EEST", "Eastern European", "Summer"),
    _zone("Europe/Moscow", "MSK", "Moscow"),
    _zone("Europe/Istanbul", "TRT", "Turkey Time"),
    _zone("Africa/Lagos", "WAT", "West Africa"),
    _zone("Africa/Johannesburg", "SAST", "South Africa"),
    _zone("Africa/Maputo", "CAT", "Central Africa Time"),
    _zone("Africa/Nairobi", "EAT", "East Africa Time"),
    _zone("Asia/Jerusalem", "IST/IDT", "Israel"),
    _zone("Asia/Dubai", "GST", "Gulf"),
    _zone("Asia/Karachi", "PKT", "Pakistan"),
    _zone("Asia/Calcutta", "IST", "India"),
    _zone("Asia/Kathmandu", "NPT", "Nepal Time"),
    _zone("Asia/Dhaka", "BDT", "Bangladesh"),
    _zone("Asia/Bangkok", "ICT", "Indochina Time"),
    _zone("Asia/Ho_Chi_Minh", "ICT", "Indochina Time"),
    _zone("Asia/Jakarta", "WIB", "Western Indonesia Time"),
    _zone("Asia/Shanghai", "CST", "China"),
    _zone("Asia/Hong_Kong", "HKT", "Hong Kong"),
    _zone("Asia/Taipei", "CST", "Taipei"),
    _zone("Asia/Singapore", "SGT", "Singapore"),
    _zone("Asia/Kuala_Lumpur", "MYT", "Malaysia Time"),
    _zone("Asia/Manila", "PST", "Philippine"),
    _zone("Asia/Seoul", "KST", "Korean"),
    _zone("Asia/Tokyo", "JST", "Japan"),
    _zone("Australia/Perth", "AWST", "Australian Western"),
    _zone("Australia/Adelaide", "ACST/ACDT", "Australian Central"),
    _zone("Australia/Sydney", "AEST/AEDT", "Australian Eastern"),
    _zone("Pacific/Auckland", "NZST/NZDT", "New Zealand"),
]
_BY_ZONE = {names.zone: names for names in ZONES}


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo | None:
    """The zone of an identifier (`Europe/Paris`, `UTC`), or None if there is none."""
    if name == "UTC":
        return UTC
    return ZoneInfo(name) if name in _available() else None


@lru_cache(maxsize=1)
def _available() -> frozenset[str]:
    return frozenset(available_timezones())


def fixed_offset(sign: str, hours: str, minutes: str | None, seconds: str | None) -> timezone:
    """The zone of an offset.  Raises ValueError for one of a day or more."""
    size = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    return timezone(-size if sign == "-" else size)


def longest_zone(text: str, position: int) -> str | None:
    """The longest identifier of a zone that stands at `position`."""
    end = position
    while end < len(text) and (text[end].isalnum() or text[end] in "/_+-"):
        end += 1
    while end > position and text[position:end] not in _available():
        end -= 1
    return text[position:end] or None


def name_of(moment: datetime, zone: str, *, is_long: bool) -> str | None:
    """What `zone` is called at a moment in it, or None if it has no name here."""
    short = moment.tzname() or ""
    names = _BY_ZONE.get(zone) or next((one for one in ZONES if _goes_with(moment, short, one)), None)
    if names is not None:
        is_summer = bool(moment.dst()) or (short == names.summer != names.standard)
        if is_long:
            return names.long_summer if is_summer and names.summer else names.long_standard
        return names.summer if is_summer and names.summer else names.standard
    return short if short.isalpha() and not is_long else None


def _goes_with(moment: datetime, short: str, names: ZoneNames) -> bool:
    """Whether a zone of this short name has these long ones: in summer or in winter the same clock goes by them."""
    zone = zone_of(names.zone)
    if zone is None or short not in (names.standard, names.summer):
        return False
    solstices = (datetime(moment.year, month, 21, tzinfo=zone) for month in (6, 12))
    return any(one.tzname() == short and one.utcoffset() == moment.utcoffset() for one in solstices)
