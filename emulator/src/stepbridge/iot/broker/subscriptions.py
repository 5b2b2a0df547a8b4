"""Who gets a message: the subscriptions of all sessions, as a tree of topic levels.

A lookup walks the topic's levels and, at each, the branches of that level, `+` and `#`; what it finds is remembered
per topic until a subscription changes.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stepbridge.iot.mqtt.packets import Subscription
from stepbridge.iot.mqtt.topics import share_of

S = TypeVar("S")  # a session; hashable
_REMEMBERED = 4096


@dataclass(slots=True, eq=False)
class Group(Generic[S]):
    """A shared subscription: each message goes to one of its members, in turn."""

    members: dict[S, Subscription] = field(default_factory=dict)
    turn: int = 0

    def in_turn(self) -> list[tuple[S, Subscription]]:
        """The members, beginning with the one whose turn it is; the next call begins one further."""
        members = list(self.members.items())
        start = self.turn % len(members)
        self.turn = start + 1
        return members[start:] + members[:start]


@dataclass(slots=True, eq=False)
class _Node(Generic[S]):
    branches: dict[str, "_Node[S]"] = field(default_factory=dict)
    sessions: dict[S, Subscription] = field(default_factory=dict)
    groups: dict[str, Group[S]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.branches or self.sessions or self.groups)


@dataclass(frozen=True, slots=True)
class Recipients(Generic[S]):
    """The sessions that get a message, each once and with the best of its subscriptions, and the shared ones."""

    sessions: tuple[tuple[S, Subscription], ...]
    groups: tuple[Group[S], ...]


class Subscriptions(Generic[S]):
    """The tree."""

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()
        self._found: dict[str, Recipients[S]] = {}

    def add(self, session: S, subscription: Subscription) -> None:
        """Add or replace."""
        self._found.clear()
        share, topic_filter = share_of(subscription.topic_filter)
        node = self._root
        for level in topic_filter.split("/"):
            node = node.branches.setdefault(level, _Node())
        if share is None:
            node.sessions[session] = subscription
        else:
            node.groups.setdefault(share, Group()).members[session] = subscription

    def remove(self, session: S, written: str) -> None:
        """Remove the subscription of `session` to the filter it wrote."""
        self._found.clear()
        share, topic_filter = share_of(written)
        path = [self._root]
        levels = topic_filter.split("/")
        for level in levels:
            path.append(path[-1].branches[level])
        node = path[-1]
        if share is None:
            del node.sessions[session]
        else:
            del node.groups[share].members[session]
            if not node.groups[share].members:
                del node.groups[share]
        for parent, level in zip(reversed(path[:-1]), reversed(levels), strict=True):
            if not parent.branches[level].empty:
                break
            del parent.branches[level]

    def match(self, topic: str) -> Recipients[S]:
        """Who gets a message on `topic`."""
        found = self._found.get(topic)
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[topic] = self._search(topic)
        return found

    def _search(self, topic: str) -> Recipients[S]:
        levels = topic.split("/")
        # Wildcards on the first level do not match topics that begin with $ (MQTT-4.7.2-1).
        nodes = [self._root]
        hits: list[_Node[S]] = []
        for position, level in enumerate(levels):
            wild = position > 0 or not topic.startswith("$")
            following: list[_Node[S]] = []
            for node in nodes:
                if (branch := node.branches.get(level)) is not None:
                    following.append(branch)
                if wild and (branch := node.branches.get("+")) is not None:
                    following.append(branch)
                if wild and (branch := node.branches.get("#")) is not None:
                    hits.append(branch)
            nodes = following
        best: dict[S, Subscription] = {}
        groups: list[Group[S]] = []
        for node in hits + nodes:
            for session, subscription in node.sessions.items():
                if session not in best or subscription.qos > best[session].qos:
                    best[session] = subscription
            groups.extend(node.groups.values())
        return Recipients(tuple(best.items()), tuple(groups))
