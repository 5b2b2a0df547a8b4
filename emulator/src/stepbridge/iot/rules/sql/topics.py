"""The filters of many rules at once."""

from typing import Generic, TypeVar

Item = TypeVar("Item")


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
