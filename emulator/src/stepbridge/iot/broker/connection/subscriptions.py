"""What a client subscribes to, and what it may not."""

import asyncio
from collections.abc import Sequence

from stepbridge.iot.access import Connection
from stepbridge.iot.broker.connection.life import Life
from stepbridge.iot.mqtt import packets as p
from stepbridge.iot.mqtt import session as mqtt
from stepbridge.iot.mqtt import topics
from stepbridge.iot.mqtt.reason import ReasonCode


class SubscriptionRequests(Life):
    """The part of a connection that subscribes and unsubscribes."""

    __slots__ = ()

    def _subscribe(self, event: mqtt.Subscribing) -> None:
        core_session, identity = self._core_session, self.identity
        assert core_session is not None  # noqa: S101 - the session lets no SUBSCRIBE through before CONNECT
        assert identity is not None  # noqa: S101
        existing = set(core_session.topic_filters)
        codes: list[int] = []
        granted: list[tuple[p.Subscription, bool]] = []
        for number, subscription in enumerate(event.subscriptions, start=1):
            replaced = subscription.topic_filter in existing
            refusal = self._refuse_subscription(identity, subscription.topic_filter, number, replaced, len(existing))
            if refusal is None:
                existing.add(subscription.topic_filter)
                granted.append((subscription, replaced))
                codes.append(subscription.qos)
                self._tell(
                    "subscribe",
                    f"{self.client_id} subscribed to {subscription.topic_filter}",
                    topic_filter=subscription.topic_filter,
                    qos=subscription.qos,
                )
                continue
            code, text = refusal
            self._tell(
                "subscribe-refused",
                f"{self.client_id} may not subscribe to {subscription.topic_filter}: {text}",
                topic_filter=subscription.topic_filter,
                reason=text,
            )
            codes.append(code)
        safe = core_session.subscribe([subscription for subscription, _ in granted])

        def answer(done: "asyncio.Future[None] | None") -> None:
            if done is not None and (error := done.exception()) is not None:
                self._not_safe(error)
            elif self._closing_at is None:
                self._session.suback(event.packet_id, tuple(codes))
                core_session.send_retained(granted)
                self.flush_soon()
                if granted:
                    self._tell_subscriptions("subscribed", [each.topic_filter for each, _ in granted])

        if safe is None:
            answer(None)
        else:
            safe.add_done_callback(answer)
            self._wait_for(safe)  # eight retained messages have a megabyte

    def _refuse_subscription(
        self, identity: Connection, topic_filter: str, number: int, replaced: bool, count: int
    ) -> tuple[ReasonCode, str] | None:
        if (fault := topics.filter_fault(topic_filter)) is not None:
            return ReasonCode.TOPIC_FILTER_INVALID, fault
        if (fault := topics.limit_fault(topic_filter)) is not None:
            return ReasonCode.TOPIC_FILTER_INVALID, fault
        if topics.is_reserved(topic_filter) and not topics.may_subscribe(topic_filter):
            return ReasonCode.TOPIC_FILTER_INVALID, f"it {topics.reservation(topic_filter)}"
        if number > mqtt.MAXIMUM_FILTERS:
            return (
                ReasonCode.QUOTA_EXCEEDED,
                f"a SUBSCRIBE may have {mqtt.MAXIMUM_FILTERS} filters, this is no. {number}",
            )
        if not replaced and count >= mqtt.MAXIMUM_SUBSCRIPTIONS:
            return ReasonCode.QUOTA_EXCEEDED, f"a connection may have {mqtt.MAXIMUM_SUBSCRIPTIONS} subscriptions"
        decision = self._gateway.access.decide(identity, "iot:Subscribe", f"topicfilter/{topic_filter}")
        return None if decision.allowed else (ReasonCode.NOT_AUTHORIZED, decision.reason)

    def _unsubscribe(self, event: mqtt.Unsubscribing) -> None:
        core_session = self._core_session
        assert core_session is not None  # noqa: S101 - the session lets no UNSUBSCRIBE through before CONNECT
        existing = set(core_session.topic_filters)
        # AWS IoT Core does not send 0x11 (No subscription existed): "MQTT reason codes supported by AWS IoT".
        codes = tuple(
            ReasonCode.SUCCESS
            if each in existing or topics.filter_fault(each) is None
            else ReasonCode.TOPIC_FILTER_INVALID
            for each in event.topic_filters
        )
        self._tell("unsubscribe", f"{self.client_id} unsubscribed from {', '.join(event.topic_filters)}")
        safe = core_session.unsubscribe(event.topic_filters)

        def answer(done: "asyncio.Future[None] | None") -> None:
            if done is not None and (error := done.exception()) is not None:
                self._not_safe(error)
            elif self._closing_at is None:
                self._session.unsuback(event.packet_id, codes)
                self.flush_soon()
                self._tell_subscriptions("unsubscribed", event.topic_filters)

        if safe is None:
            answer(None)
        else:
            safe.add_done_callback(answer)

    def _tell_subscriptions(self, event: str, topic_filters: Sequence[str]) -> None:
        if self._client_events is not None:
            self._gateway.lifecycle.subscriptions(event, self._client_events, topic_filters)
