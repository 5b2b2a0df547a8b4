"""Topic names and topic filters: MQTT's rules (MQTT 5.0 section 4.7) and those of AWS IoT Core.

AWS differs from the specification in one point: `sensor/#` does not match `sensor` itself (AWS IoT developer guide,
"MQTT topics").
"""

MAXIMUM_BYTES = 256
MAXIMUM_SLASHES = 7
SHARE = "$share/"
BASIC_INGEST = "$aws/rules/"


def share_of(topic_filter: str) -> tuple[str | None, str]:
    """The name of the shared subscription, or None, and the filter of its messages (MQTT 5.0 section 4.8.2)."""
    if not topic_filter.startswith(SHARE):
        return None, topic_filter
    name, _, rest = topic_filter[len(SHARE) :].partition("/")
    return name, rest


def basic_ingest_rule(topic: str) -> tuple[str, str] | None:
    """The rule's name and the remaining topic if `topic` is one of Basic Ingest (`$aws/rules/<rule>[/<topic>]`)."""
    if not topic.startswith(BASIC_INGEST):
        return None
    rule, _, rest = topic[len(BASIC_INGEST) :].partition("/")
    return rule, rest


def filter_fault(topic_filter: str) -> str | None:
    """What is wrong with a filter by MQTT's rules, or None."""
    name, rest = share_of(topic_filter)
    if name is not None and (not name or "+" in name or "#" in name):
        return "the name of a shared subscription must have a character, and no wildcard (MQTT-4.8.2-1)"
    if not rest:
        return "a topic filter must have at least one character (MQTT-4.7.3-1)"
    levels = rest.split("/")
    for position, level in enumerate(levels):
        if "#" in level and (level != "#" or position != len(levels) - 1):
            return "# must be the whole last level (MQTT-4.7.1-1)"
        if "+" in level and level != "+":
            return "+ must be a whole level (MQTT-4.7.1-2)"
    return None


def limit_fault(topic: str) -> str | None:
    """Which limit of AWS IoT Core a topic or filter exceeds, or None.

    The first three levels of Basic Ingest and `$share/<name>` do not count.
    """
    basic_ingest = basic_ingest_rule(topic)
    counted = share_of(topic)[1] if basic_ingest is None else basic_ingest[1]
    size = len(counted.encode())
    if size > MAXIMUM_BYTES:
        return f"it has {size} bytes, the most is {MAXIMUM_BYTES}"
    slashes = counted.count("/")
    if slashes > MAXIMUM_SLASHES:
        return f"it has {slashes} slashes, the most is {MAXIMUM_SLASHES}"
    return None


# What clients may use of the topics that AWS reserves ($...), as filters (AWS IoT developer guide, "Reserved topics").
_RESERVED_PUBLISH = (
    "$aws/rules/#",
    "$aws/things/+/shadow/get",
    "$aws/things/+/shadow/update",
    "$aws/things/+/shadow/delete",
    "$aws/things/+/shadow/name/+/get",
    "$aws/things/+/shadow/name/+/update",
    "$aws/things/+/shadow/name/+/delete",
)
_RESERVED_SUBSCRIBE = ("$aws/things/", "$aws/events/")
# Topics of what is not emulated: AWS IoT Jobs, Device Defender, fleet provisioning, …
_NOT_EMULATED = ("$aws/things/", "$aws/certificates/", "$aws/provisioning-templates/", "$aws/sitewise/", "$aws/device_")


def is_reserved(topic: str) -> bool:
    return share_of(topic)[1].startswith("$")


def may_publish(topic: str) -> bool:
    """Whether a reserved topic takes messages from clients; Basic Ingest needs the name of a rule."""
    basic_ingest = basic_ingest_rule(topic)
    if basic_ingest is not None:
        return basic_ingest[0] != ""
    return any(matches(each, topic) for each in _RESERVED_PUBLISH)


def may_subscribe(topic_filter: str) -> bool:
    """Whether a reserved filter has messages for clients."""
    return share_of(topic_filter)[1].startswith(_RESERVED_SUBSCRIBE)


def reservation(topic: str) -> str:
    """Why a reserved topic or filter cannot be used, to follow its name."""
    if share_of(topic)[1].startswith(_NOT_EMULATED) and "/shadow/" not in topic:
        return "belongs to a feature of AWS IoT that is not emulated"
    return "is reserved by AWS, which does not let clients use it so"


def has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter (without `$share/…`) matches a topic name."""
    if topic[:1] == "$" and topic_filter[:1] in ("+", "#"):
        return False
    wanted, given = topic_filter.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return len(given) > position
        if position >= len(given) or (level not in ("+", given[position])):
            return False
    return len(wanted) == len(given)
