"""Links to Mosquitto that are there as long as the emulator is, and are opened again whenever they are lost."""

import asyncio
from collections import deque
from collections.abc import Callable

from stepbridge.clock import SystemClock
from stepbridge.iot.broker.core import Safe
from stepbridge.iot.broker.mosquitto_link import Done, Endpoint, Link, Outgoing, finish
from stepbridge.iot.mqtt import packets as p

Tell = Callable[[str, str], object]  # event and text, for the trace
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds between attempts
_WINDOW = 1000  # unacknowledged messages to us
_MOST_WAITING = 10_000  # messages while Mosquitto is away


class StandingLink:
    """A link and its reconnection, in real time: Mosquitto is another process.

    `expiry` is how many seconds Mosquitto keeps the session while the link is down.  `opened` is called with each new
    link, `lost` with each one that is lost.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client_id: str,
        tell: Tell,
        *,
        expiry: int,
        opened: Callable[[Link], object],
        lost: Callable[[Link], object] = lambda link: None,
        arrived: Callable[[p.Publish], object] = lambda packet: None,
    ) -> None:
        self.link: Link | None = None
        self._endpoint = endpoint
        self._client_id = client_id
        self._tell = tell
        self._expiry = expiry
        self._opened = opened
        self._lost_callback = lost
        self._arrived = arrived
        self._reconnecting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect.  Raises ConnectionError if Mosquitto is not there."""
        self.link = await Link.open(
            self._endpoint,
            self._client_id,
            clean_start=self._expiry == 0,
            expiry=self._expiry,
            receive_maximum=_WINDOW,
            arrived=self._arrived,
            lost=self._lost,
        )
        self._opened(self.link)

    async def stop(self) -> None:
        """Disconnect; what was sent has arrived."""
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self.link is not None:
            self.link.disconnect()
            await self.link.closed

    def _lost(self, reason: str) -> None:
        link, self.link = self.link, None
        if link is not None:
            self._tell("mosquitto-lost", f"Mosquitto at {self._endpoint} is gone: {reason}")
            self._lost_callback(link)
        self._reconnecting = asyncio.ensure_future(self._reconnect())

    async def _reconnect(self) -> None:
        clock, pause, said = SystemClock(), _FIRST_PAUSE, ""
        while True:
            await clock.sleep(pause)
            try:
                await self.start()
            except ConnectionError as error:
                if said != str(error):
                    said = str(error)
                    self._tell("mosquitto-away", f"{error}; trying again")
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._tell("mosquitto-back", f"Mosquitto at {self._endpoint} is back")
                return


class Publisher:
    """Publishes all messages, in the order in which they are accepted, and loses none with QoS 1.

    One for all: the order among devices, and between a device's message and the answer of a part of the emulator, is
    then the same to all subscribers, as it is in the embedded core.
    """

    def __init__(self, endpoint: Endpoint, client_id: str, tell: Tell) -> None:
        self._standing = StandingLink(endpoint, client_id, tell, expiry=0, opened=self._opened, lost=self._lost)
        self.start = self._standing.start
        self._waiting: list[Outgoing] = []  # while there is no link
        self._barriers: deque[Done] = deque()

    @property
    def connected(self) -> bool:
        return self._standing.link is not None

    async def stop(self) -> None:
        """Return when all that was published is with Mosquitto, or it is away."""
        if self.connected:
            safe = self.barrier()
            closed = self._standing.link.closed if self._standing.link is not None else safe
            await asyncio.wait({safe, closed}, return_when=asyncio.FIRST_COMPLETED)
        await self._standing.stop()

    def publish(self, packet: p.Publish, *, lasts: bool) -> Safe:
        """Publish.  The answer is None with QoS 0, or done when it is acknowledged, and on disk if it `lasts`."""
        message = Outgoing(packet, asyncio.get_running_loop().create_future(), lasts)
        link = self._standing.link
        if link is not None:
            link.publish(message)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(message)
        elif packet.qos:
            message.done.set_exception(ConnectionError(f"Mosquitto is away, and {_MOST_WAITING} messages wait for it"))
        return message.done if packet.qos else None

    def barrier(self) -> Done:
        """Done when Mosquitto has handed out all that was published before."""
        done: Done = asyncio.get_running_loop().create_future()
        self._barriers.append(done)
        if self._standing.link is not None:
            self._standing.link.ping(self._passed)
        return done

    def _passed(self) -> None:
        finish(self._barriers.popleft())

    def _opened(self, link: Link) -> None:
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            link.publish(message)
        for _ in self._barriers:
            link.ping(self._passed)

    def _lost(self, link: Link) -> None:
        self._waiting = [*link.unsent(), *self._waiting]
