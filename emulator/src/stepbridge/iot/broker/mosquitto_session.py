"""One client's session on Mosquitto, as the gateway sees it.

Mosquitto sends an MQTT 5 client one copy of a message for each of its subscriptions that match; AWS sends one, by the
best of them.  Which that is, is computed from the session's subscriptions as they stand in Mosquitto's stream of
packets: a subscription counts from its SUBACK on.  The copies of a message follow each other, so that of those with
the same QoS the first is taken and the others are recognised by its number.

Copies carry a subscription identifier: `_PLAIN`, or `_INBOX` for what :mod:`.mosquitto_shares` chose this session for.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stepbridge.clock import Timer
from stepbridge.iot.broker.core import Safe, Subscriber
from stepbridge.iot.broker.mosquitto_envelope import escape, unpack, wire_filter
from stepbridge.iot.broker.mosquitto_link import Link
from stepbridge.iot.broker.subscriptions import Subscriptions
from stepbridge.iot.message import Message
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt.packets import Property, Subscription
from stepbridge.iot.mqtt.topics import has_wildcard, share_of

if TYPE_CHECKING:
    from stepbridge.iot.broker.mosquitto import MosquittoCore

_PLAIN, _INBOX = 1, 2
_NO_RETAINED = 2  # Retain Handling: send none
_REFUSAL = 0x80


class MosquittoSession:
    """A session, connected or not.  Those with `durable` outlive their connection."""

    def __init__(self, core: "MosquittoCore", client_id: str, version: int, expiry: int) -> None:
        self._core = core
        self.client_id = client_id
        self.version = version
        self.expiry = expiry
        self.durable = expiry > 0
        self.present = False
        self.subscriber: Subscriber | None = None
        self.link: Link | None = None
        self.timer: Timer | None = None
        self.subscriptions: dict[str, Subscription] = {}  # as the client asked
        self._effective: Subscriptions[None] = Subscriptions()  # as Mosquitto has answered, without the shared ones
        # While it is positive, what arrives is held: the client has no CONNACK or SUBACK yet.
        self._holds = 0
        self._begun = False
        self._held: list[p.Publish] = []
        self._backlog: deque[tuple[Message, bool, int]] = deque()
        self._last: dict[int, str] = {}  # by QoS, the number of the message that came last
        # The RETAIN flags of what the client has not acknowledged, by packet identifier, and what it had not when its
        # last connection ended, by number: subscriptions may have changed when it comes again, the message has not.
        self._unacknowledged: dict[int, tuple[str, bool]] = {}
        self._again: dict[str, bool] = {}
        # SUBSCRIBE and UNSUBSCRIBE on their way; what the client sent after them waits.
        self._changing = 0
        self._deferred: deque[Callable[[], object]] = deque()

    @property
    def upstream_id(self) -> str:
        """The client id on Mosquitto."""
        return f"device/{escape(self.client_id)}"

    @property
    def inbox(self) -> str:
        """The topic on which Mosquitto gets the messages of shared subscriptions for this session."""
        return f"$stepbridge/inbox/{hashlib.sha256(self.client_id.encode()).hexdigest()}"

    @property
    def topic_filters(self) -> Collection[str]:
        return self.subscriptions.keys()

    @property
    def has_shares(self) -> bool:
        return any(share_of(each)[0] is not None for each in self.subscriptions)

    def restore(self, subscription: Subscription) -> None:
        """A subscription of the last run."""
        self.subscriptions[subscription.topic_filter] = subscription
        if share_of(subscription.topic_filter)[0] is None:
            self._effective.add(None, subscription)

    def attach(self, subscriber: Subscriber) -> None:
        """A connection takes the session up; its link comes with :meth:`begin`."""
        self.subscriber = subscriber
        self._holds, self._begun = 1, False
        self._held.clear()
        self._backlog.clear()
        self._last.clear()
        self._again = dict(self._unacknowledged.values())
        self._unacknowledged.clear()
        self._changing = 0
        self._deferred.clear()

    def begin(self, link: Link) -> None:
        """There is a link.  Subscriptions are told again: whatever happened, both sides have the same."""
        self.link = link
        plain = [each for each in self.subscriptions.values() if share_of(each.topic_filter)[0] is None]
        if plain:
            link.subscribe([self._on_the_wire(each, resumed=True) for each in plain], _PLAIN, lambda codes: None)
        if self.has_shares:
            link.subscribe([Subscription(self.inbox, 1)], _INBOX, lambda codes: None)

    # From Mosquitto

    def lost(self, reason: str) -> None:
        """The link is gone: the client has to come again, as it does when a node of AWS's goes away."""
        self.link = None
        if self.subscriber is not None:
            self.subscriber.abandon(f"Mosquitto is gone: {reason}")

    def arrived(self, packet: p.Publish) -> None:
        if self._holds:
            self._held.append(packet)
        else:
            self._take(packet)

    def _take(self, packet: p.Publish) -> None:
        arrival = unpack(packet, self._core.now)
        message, number = arrival.message, arrival.number
        if packet.properties.get(Property.SUBSCRIPTION_IDENTIFIER) == (_INBOX,):
            self._offer(message, packet.qos, message.retain, packet.packet_id)
            return
        if packet.retain:  # the retained message of a new subscription
            self._offer(message, packet.qos, True, packet.packet_id)
            return
        best = self._effective.match(message.topic).sessions
        again = self._again.pop(number, None) if number is not None and packet.qos else None
        retain = again or False
        if again is None and best:  # or else the subscription was given up, and what has waited since is still due
            subscription = best[0][1]
            if subscription.no_local and message.client_id == self.client_id:
                self._skip(packet)
                return
            if packet.qos == 0 and message.qos and subscription.qos:
                return  # there is a copy with QoS 1
            retain = message.retain and subscription.retain_as_published
        if number is not None and self._last.get(packet.qos) == number:
            self._skip(packet)
            return
        if number is not None:
            self._last[packet.qos] = number
            if packet.qos and self.durable:
                self._unacknowledged[packet.packet_id] = number, retain
        self._offer(message, packet.qos, retain, packet.packet_id)

    def _skip(self, packet: p.Publish) -> None:
        if packet.qos and self.link is not None:
            self.link.acknowledge(packet.packet_id)

    def _offer(self, message: Message, qos: int, retain: bool, packet_id: int) -> None:
        if self.subscriber is None:
            return
        if qos == 0:
            self.subscriber.deliver(message, 0, retain, 0)
        elif self._backlog or not self.subscriber.deliver(message, 1, retain, packet_id):
            self._backlog.append((message, retain, packet_id))

    def _release(self) -> None:
        self._holds -= 1
        if not self._holds:
            held, self._held = self._held, []
            for packet in held:
                self._take(packet)

    # From the gateway: see CoreSession

    def resume(self) -> None:
        if not self._begun:
            self._begun = True
            self._release()
        while self._backlog and self.subscriber is not None:
            if not self.subscriber.deliver(self._backlog[0][0], 1, *self._backlog[0][1:]):
                return
            self._backlog.popleft()

    def acknowledge(self, token: int) -> None:
        self._unacknowledged.pop(token, None)
        if self.link is not None:
            self.link.acknowledge(token)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> Safe:
        self._holds += 1  # until send_retained()
        if not subscriptions or self.link is None:
            return None
        for subscription in subscriptions:
            self.subscriptions[subscription.topic_filter] = subscription
            if self.durable:
                self._core.lasting.add(self, subscription)
                self._core.records.save_subscription(self.client_id, subscription)
        plain = [each for each in subscriptions if share_of(each.topic_filter)[0] is None]
        shared = [each for each in subscriptions if share_of(each.topic_filter)[0] is not None]
        waits: list[Safe] = [self._core.pending_commit() if self.durable else None]

        if plain:
            done = self._change()
            waits.append(done)

            def answered(codes: Sequence[int]) -> None:
                for subscription in plain:
                    self._effective.add(None, subscription)
                self._changed(done, codes)

            self.link.subscribe([self._on_the_wire(each) for each in plain], _PLAIN, answered)
        if shared:
            inbox = self._change()
            waits.append(inbox)
            self.link.subscribe([Subscription(self.inbox, 1)], _INBOX, lambda codes: self._changed(inbox, codes))
            waits += [self._core.shares.join(self, each) for each in shared]
        return together(waits)

    def send_retained(self, subscriptions: Sequence[tuple[Subscription, bool]]) -> None:
        """Mosquitto has sent them of its own accord."""
        self._release()

    def unsubscribe(self, topic_filters: Sequence[str]) -> Safe:
        plain = []
        waits: list[Safe] = []
        for topic_filter in topic_filters:
            if self.subscriptions.pop(topic_filter, None) is None:
                continue
            if self.durable:
                self._core.lasting.remove(self, topic_filter)
                self._core.records.delete_subscription(self.client_id, topic_filter)
            if share_of(topic_filter)[0] is None:
                plain.append(topic_filter)
            else:
                self._core.shares.leave(self, topic_filter)
        if plain and self.link is not None:
            done = self._change()
            waits.append(done)

            def answered(codes: Sequence[int]) -> None:
                for topic_filter in plain:
                    self._effective.remove(None, topic_filter)
                self._changed(done, codes)

            self.link.unsubscribe([wire_filter(each) for each in plain], answered)
        return together([*waits, self._core.pending_commit() if self.durable else None])

    def publish(self, message: Message) -> Safe:
        if not self._changing:
            return self._core.publish_of(message)
        return self._after_changes(lambda: self._core.publish_of(message))

    def synchronize(self) -> Safe:
        return self._after_changes(lambda: self._core.synchronize(self))

    def close(self, subscriber: Subscriber, expiry: int) -> None:
        if self.subscriber is not subscriber:
            return
        while self._deferred:
            self._deferred.popleft()()
        self.subscriber = None
        link, self.link = self.link, None
        keep = expiry > 0 and self.durable
        if keep:
            self.expiry = expiry
            self._core.keep(self)
        else:
            self._core.end(self, with_link=link is not None)
        if link is not None:
            link.disconnect(forget=not keep)

    # Changes of the subscriptions, and what waits for them

    def _change(self) -> "asyncio.Future[None]":
        self._changing += 1
        return asyncio.get_running_loop().create_future()

    def _changed(self, done: "asyncio.Future[None]", codes: Sequence[int]) -> None:
        if self.durable and self.link is not None:
            self.link.save(lambda: self._changed_safely(done, codes))
        else:
            self._changed_safely(done, codes)

    def _changed_safely(self, done: "asyncio.Future[None]", codes: Sequence[int]) -> None:
        self._changing -= 1
        refusals = [code for code in codes if code >= _REFUSAL]
        if done.done():
            pass
        elif refusals:
            done.set_exception(ConnectionError(f"Mosquitto refuses it (0x{refusals[0]:02X})"))
        else:
            done.set_result(None)
        while self._deferred and not self._changing:
            self._deferred.popleft()()

    def _after_changes(self, work: Callable[[], Safe]) -> Safe:
        if not self._changing:
            return work()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deferred.append(lambda: _follow(done, work()))
        return done

    def _on_the_wire(self, subscription: Subscription, *, resumed: bool = False) -> Subscription:
        """What Mosquitto is asked for.  No Local and Retain As Published are seen to here.

        Retained messages go to exact filters only (AWS IoT developer guide, "MQTT retained messages").
        """
        none = resumed or has_wildcard(subscription.topic_filter)
        return replace(
            subscription,
            topic_filter=wire_filter(subscription.topic_filter),
            no_local=False,
            retain_as_published=False,
            retain_handling=_NO_RETAINED if none else subscription.retain_handling,
        )


def _follow(done: "asyncio.Future[None]", safe: Safe) -> None:
    """Let `done` end as `safe` does."""

    def ended(other: "asyncio.Future[None]") -> None:
        if done.done() or other.cancelled():
            return
        error = other.exception()
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)

    if safe is None:
        done.set_result(None)
    else:
        safe.add_done_callback(ended)


def together(waits: Sequence[Safe]) -> Safe:
    """Done when all are, or as soon as one fails."""
    some = [each for each in waits if each is not None]
    if len(some) < 2:
        return some[0] if some else None
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(some)

    def ended(other: "asyncio.Future[None]") -> None:
        nonlocal left
        left -= 1
        if done.done() or other.cancelled():
            return
        error = other.exception()
        if error is not None:
            done.set_exception(error)
        elif not left:
            done.set_result(None)

    for each in some:
        each.add_done_callback(ended)
    return done
