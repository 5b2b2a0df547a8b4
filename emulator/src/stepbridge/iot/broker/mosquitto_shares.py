"""Shared subscriptions on Mosquitto.

Mosquitto hands the messages of a shared subscription to its members in turn whether they are connected or not; AWS
prefers those that are.  So one session of our own, the distributor, holds the filters of all shared subscriptions,
chooses the member and publishes the message again to that member's inbox, a topic that its session is subscribed to.
The distributor acknowledges a message when Mosquitto has it in an inbox, and its session outlives the emulator, so
that no message is lost on the way.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stepbridge.iot.broker.core import Safe
from stepbridge.iot.broker.mosquitto_envelope import pack, unpack, wire_filter
from stepbridge.iot.broker.mosquitto_link import Endpoint, Link, Outgoing, finish
from stepbridge.iot.broker.mosquitto_session import MosquittoSession, together
from stepbridge.iot.broker.mosquitto_standing import StandingLink, Tell
from stepbridge.iot.broker.subscriptions import Group
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property, Subscription
from stepbridge.iot.mqtt.topics import share_of

if TYPE_CHECKING:
    from stepbridge.iot.broker.mosquitto import MosquittoCore

_NO_RETAINED = 2


class SharedSubscriptions:
    """The distributor and the members."""

    def __init__(self, core: "MosquittoCore", endpoint: Endpoint, client_id: str, tell: Tell, expiry: int) -> None:
        self._core = core
        self._standing = StandingLink(
            endpoint, client_id, tell, expiry=expiry, opened=self._opened, arrived=self._arrived
        )
        # By filter, and then by filter as written ($share/…): groups with one filter are one subscription of ours.
        self._groups: dict[str, dict[str, Group[MosquittoSession]]] = {}
        self._filters: dict[int, str] = {}  # by subscription identifier

    async def start(self) -> None:
        """Connect; the members of the last run have joined.  Raises ConnectionError."""
        self._filters = dict(self._core.records.shares())
        await self._standing.start()
        for topic_filter in [each for each in self._filters.values() if each not in self._groups]:
            self._abandon(topic_filter)

    async def stop(self) -> None:
        await self._standing.stop()

    def restore(self, session: MosquittoSession, subscription: Subscription) -> None:
        """A member of the last run."""
        topic_filter = share_of(subscription.topic_filter)[1]
        groups = self._groups.setdefault(topic_filter, {})
        groups.setdefault(subscription.topic_filter, Group()).members[session] = subscription

    def join(self, session: MosquittoSession, subscription: Subscription) -> Safe:
        """Add a member, or change its subscription."""
        self.restore(session, subscription)
        topic_filter = share_of(subscription.topic_filter)[1]
        self._filters[self._core.records.share_id(topic_filter)] = topic_filter
        link = self._standing.link
        if link is None:
            return None  # _opened() will
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribe(link, topic_filter, lambda codes: link.save(lambda: finish(done)))
        return done

    def leave(self, session: MosquittoSession, written: str) -> None:
        """Remove a member."""
        topic_filter = share_of(written)[1]
        groups = self._groups[topic_filter]
        del groups[written].members[session]
        if not groups[written].members:
            del groups[written]
        if not groups:
            del self._groups[topic_filter]
            self._abandon(topic_filter)

    def barrier(self) -> Safe:
        """Done when all that Mosquitto has given out until now is in an inbox."""
        link = self._standing.link
        if link is None:
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # What the first answer comes after has been published again when it comes; the second says that it arrived.
        link.ping(lambda: link.ping(lambda: finish(done)))
        return done

    def _opened(self, link: Link) -> None:
        for topic_filter in self._groups:
            self._subscribe(link, topic_filter, lambda codes: None)

    def _subscribe(self, link: Link, topic_filter: str, answered: Callable[[Sequence[int]], object]) -> None:
        subscription = Subscription(wire_filter(topic_filter), 1, retain_handling=_NO_RETAINED)
        link.subscribe([subscription], self._core.records.share_id(topic_filter), answered)

    def _abandon(self, topic_filter: str) -> None:
        number = self._core.records.share_id(topic_filter)
        self._core.records.delete_share(topic_filter)
        self._filters.pop(number, None)
        if self._standing.link is not None:
            self._standing.link.unsubscribe([wire_filter(topic_filter)], lambda codes: None)

    def _arrived(self, packet: p.Publish) -> None:
        link = self._standing.link
        if link is None:
            return  # not acknowledged: it comes again
        topic_filter = self._filters.get(packet.properties.get(Property.SUBSCRIPTION_IDENTIFIER, (0,))[0], "")
        sent = [self._pass_on(link, packet, group) for group in self._groups.get(topic_filter, {}).values()]
        if packet.qos:
            safe = together(sent)

            def passed_on(done: "asyncio.Future[None] | None" = None) -> None:
                if done is None or done.exception() is None:
                    link.acknowledge(packet.packet_id)

            if safe is None:
                passed_on()
            else:
                safe.add_done_callback(passed_on)

    def _pass_on(self, link: Link, packet: p.Publish, group: Group[MosquittoSession]) -> Safe:
        """Publish to the inbox of a member: a connected one if there is any."""
        members = group.in_turn()
        session, subscription = next((each for each in members if each[0].subscriber is not None), members[0])
        arrival = unpack(packet, self._core.now)
        message = arrival.message
        qos = min(packet.qos, subscription.qos)
        retain = message.retain and subscription.retain_as_published
        number = arrival.number or self._core.next_number()
        forwarded = pack(replace(message, retain=retain), number, qos, False, topic=session.inbox)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link.publish(Outgoing(forwarded, done, session.durable))
        return done if qos else None
