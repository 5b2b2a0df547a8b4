"""Topic filters of rules: which are valid, which topics they match, and many of them at once."""

from typing import Generic, TypeVar

_MAX_BYTES = 256
_MAX_SLASHES = 7
_BASIC_INGEST = "$aws/rules/"

Item = TypeVar("Item")


def filter_problem(topic_filter: str) -> str | None:
    """What is wrong with a topic filter, or None."""
    if not topic_filter:
        return "the topic filter is empty"
    if len(topic_filter.encode(errors="replace")) > _MAX_BYTES:
        return f"the topic filter is longer than {_MAX_BYTES} bytes"
    levels = topic_filter.split("/")
    if len(levels) - 1 > _MAX_SLASHES:
        return f"the topic filter has more than {_MAX_SLASHES} slashes"
    if "\0" in topic_filter:
        return "the topic filter has a null character"
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            return "'#' stands for whole levels, and only at the end of a topic filter"
        if "+" in level and level != "+":
            return "'+' stands for one whole level of a topic filter"
    return None


def basic_ingest(topic: str) -> tuple[str, str] | None:
    """The rule's name and the topic that is left of `$aws/rules/<name>[/<topic>]`, or None for any other topic."""
    if not topic.startswith(_BASIC_INGEST):
        return None
    name, _, rest = topic[len(_BASIC_INGEST) :].partition("/")
    return name, rest


class TopicTrie(Generic[Item]):
    """Items by topic filter, found by topic in time that grows with the topic and not with the items."""

    __slots__ = ("_children", "_here", "_rest")

    def __init__(self) -> None:
        self._children: dict[str, TopicTrie[Item]] = {}
        self._here: list[Item] = []
        self._rest: list[Item] = []

    def add(self, topic_filter: str, item: Item) -> None:
        """Have `item` found for the topics that match."""
        node = self
        for level in topic_filter.split("/"):
            if level == "#":
                node._rest.append(item)
                return
            child = node._children.get(level)
            if child is None:
                child = node._children[level] = TopicTrie()
            node = child
        node._here.append(item)

    def find(self, topic: str) -> list[Item]:
        """The items whose filters match `topic`.

        Unlike MQTT's, `sensor/#` does not match `sensor` (developerguide/topics.html).  Filters that begin with a
        wildcard do not match reserved topics, which begin with `$` (MQTT 3.1.1 section 4.7.2).
        """
        found: list[Item] = []
        levels = topic.split("/")
        nodes = [self]
        for index, level in enumerate(levels):
            reserved = index == 0 and topic.startswith("$")
            following: list[TopicTrie[Item]] = []
            for node in nodes:
                if node._rest and not reserved:
                    found.extend(node._rest)
                child = node._children.get(level)
                if child is not None:
                    following.append(child)
                if not reserved and (child := node._children.get("+")) is not None:
                    following.append(child)
            nodes = following
        for node in nodes:
            found.extend(node._here)
        return found
