"""The MQTT side: jobs in, answers out, and nothing lost in between.

A job's message is acknowledged only when the broker has confirmed the answer, and the session is persistent: whatever
dies on the way, the job is delivered again.  The network has a thread of its own (paho's) that keeps the connection
alive while a job runs; jobs run one after the other in the thread that calls :meth:`Worker.run`.
"""

import logging
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from onprem_worker.configuration import Configuration
from onprem_worker.messages import Job, MalformedJobError, decode_job, encode_error, encode_result

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 60
RECONNECT_SECONDS = (1, 60)
# How long a stopping worker waits for the broker to confirm its last answers.
CONFIRMATION_SECONDS = 10.0
# Tokens of answered jobs kept to recognise a message that is delivered again.
ANSWERED_KEPT = 1000


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A message that is to be acknowledged: packet ids mean something only on the connection they came on."""

    connection: int
    packet_id: int
    qos: int


class Worker:
    """Connects, and does each job that comes with `do_job` until it is stopped.

    Raises ConfigurationError if the configuration's certificate files are not usable.
    """

    def __init__(self, configuration: Configuration, do_job: Callable[[object], object]) -> None:
        self._configuration = configuration
        self._do_job = do_job
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._stopping = False
        self._subscription_refused = False
        self._admitted: bool | None = None  # what the endpoint said to this connection: nothing as yet, no or yes
        # What both threads touch, under this condition; notified when an answer is confirmed.
        self._state = threading.Condition()
        self._connection = 0
        self._deliveries: dict[str, _Delivery] = {}  # by token: jobs that are queued, in hand or unconfirmed
        self._unconfirmed: dict[int, str] = {}  # packet id of a published answer → token
        self._confirmed_early: set[int] = set()  # confirmed before `publish` had said their packet id
        self._answered: OrderedDict[str, None] = OrderedDict()

        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, configuration.client_id, clean_session=False, manual_ack=True
        )
        self._client.tls_set_context(configuration.tls_context())
        self._client.reconnect_delay_set(*RECONNECT_SECONDS)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish

    def run(self) -> int:
        """Work until :meth:`stop`; the exit status: 0, or 1 if the worker may not subscribe to its jobs."""
        self._set_ready(False)
        self._client.connect_async(self._configuration.endpoint, self._configuration.port, KEEP_ALIVE_SECONDS)
        self._client.loop_start()
        try:
            while (job := self._jobs.get()) is not None and not self._stopping:
                self._answer(job.token, self._perform(job))
            self._await_confirmations()
        finally:
            self._client.disconnect()
            self._client.loop_stop()
            self._set_ready(False)
        logger.info("Stopped")
        return 1 if self._subscription_refused else 0

    def stop(self) -> None:
        """Let :meth:`run` finish the job in hand and return.  May be called from a signal handler or any thread.

        Jobs that wait behind it are not acknowledged, so the broker delivers them to the next worker.
        """
        self._stopping = True
        self._jobs.put(None)

    def _perform(self, job: Job) -> bytes:
        """Do a job; its answer, whatever happens."""
        logger.info("Doing the job %s", _short(job.token))
        try:
            return encode_result(job.token, self._do_job(job.input))
        except Exception as error:
            logger.warning("The job %s failed", _short(job.token), exc_info=True)
            return encode_error(job.token, type(error).__name__, str(error))

    def _answer(self, token: str, payload: bytes) -> None:
        """Publish an answer.  Without a connection paho keeps it and sends it on the next."""
        # Not under our lock: paho calls _on_publish with a lock of its own held, which publish takes too.
        packet_id = self._client.publish(self._configuration.submit_topic, payload, qos=1).mid
        with self._state:
            if packet_id in self._confirmed_early:
                self._confirmed_early.remove(packet_id)
                self._finish(token)
            else:
                self._unconfirmed[packet_id] = token

    def _finish(self, token: str) -> None:
        """The broker has the answer: acknowledge the job.  Called with the lock held."""
        delivery = self._deliveries.pop(token)
        if delivery.connection == self._connection:
            self._client.ack(delivery.packet_id, delivery.qos)
        self._answered[token] = None
        if len(self._answered) > ANSWERED_KEPT:
            self._answered.popitem(last=False)
        self._state.notify_all()
        logger.info("Answered the job %s", _short(token))

    def _set_ready(self, ready: bool) -> None:
        file = self._configuration.ready_file
        if file is not None and ready:
            file.touch()
        elif file is not None:
            file.unlink(missing_ok=True)

    def _await_confirmations(self) -> None:
        with self._state:
            if not self._state.wait_for(lambda: not self._unconfirmed, CONFIRMATION_SECONDS):
                logger.warning(
                    "Stopping with %d answers unconfirmed; their jobs will be delivered again", len(self._unconfirmed)
                )

    # Called on the network thread.

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        self._admitted = not reason.is_failure
        if reason.is_failure:
            logger.error(
                "The endpoint refused the client id %s: %s. Is the certificate active, and is a policy attached to it "
                "that allows iot:Connect for this client id?",
                self._configuration.client_id,
                reason,
            )
            return
        with self._state:
            self._connection += 1
        logger.info("Connected to %s:%d", self._configuration.endpoint, self._configuration.port)
        client.subscribe(self._configuration.subscribe_topic, qos=1)

    def _on_connect_fail(self, _client: mqtt.Client, _data: object) -> None:
        # paho calls this while it handles the exception, and says what went wrong nowhere else.
        where = f"{self._configuration.endpoint}:{self._configuration.port}"
        logger.warning("No connection to %s: %s. Trying again", where, sys.exception())

    def _on_disconnect(
        self, _c: mqtt.Client, _data: object, _flags: mqtt.DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        self._set_ready(False)
        admitted, self._admitted = self._admitted, None
        if self._stopping:
            return
        if admitted is None:
            logger.error(
                "The endpoint closed the connection before it took the client id. Is the certificate registered and "
                "active? Trying again"
            )
        elif admitted:
            logger.warning("Lost the connection: %s. Connecting again", reason)
            with self._state:
                unconfirmed = len(self._unconfirmed)
            if unconfirmed:
                logger.warning(
                    "Answers that the endpoint has not confirmed: %d. If that goes on, does the worker's policy allow "
                    "iot:Publish on %s?",
                    unconfirmed,
                    self._configuration.submit_topic,
                )

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        topic = self._configuration.subscribe_topic
        if any(reason.is_failure for reason in reasons):
            logger.error("May not subscribe to %s: does the worker's policy allow iot:Subscribe on it?", topic)
            self._subscription_refused = True
            self.stop()
        else:
            self._set_ready(True)
            logger.info("Waiting for jobs on %s", topic)

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            job = decode_job(bytes(message.payload))
        except MalformedJobError as error:
            logger.error("Refused a message on %s: %s", message.topic, error)
            if error.token is None:
                client.ack(message.mid, message.qos)
            elif self._is_new(error.token, message):
                cause = f"The worker got a message that is no job: {error}."
                self._answer(error.token, encode_error(error.token, "MalformedJobError", cause))
        else:
            if self._is_new(job.token, message):
                self._jobs.put(job)

    def _is_new(self, token: str, message: mqtt.MQTTMessage) -> bool:
        """Whether a message is not a job delivered again; remembers where to acknowledge it."""
        with self._state:
            if token in self._answered:
                self._client.ack(message.mid, message.qos)
                return False
            known = token in self._deliveries
            self._deliveries[token] = _Delivery(self._connection, message.mid, message.qos)
            return not known

    def _on_publish(
        self, _client: mqtt.Client, _data: object, packet_id: int, _reason: ReasonCode, _p: Properties
    ) -> None:
        with self._state:
            if packet_id in self._unconfirmed:
                self._finish(self._unconfirmed.pop(packet_id))
            else:
                self._confirmed_early.add(packet_id)


def _short(token: str) -> str:
    """Enough of a task token to tell two apart, too little to use."""
    return f"…{token[-6:]}" if len(token) > 12 else "…"
