"""The worker's transport against a broker that delivers, withholds and hangs up as told."""

import json
import logging
import queue
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onprem_worker import worker as worker_module
from onprem_worker.configuration import Configuration
from onprem_worker.worker import Worker

from .broker import CONNECT, DISCONNECT, PATIENCE_SECONDS, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, Broker

TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAeFaketoken"


def job(job_input: object, token: str = TOKEN) -> bytes:
    return json.dumps({"Input": job_input, "TaskToken": token}).encode()


class Work:
    """A job function that tells when it is called and returns when it is let."""

    def __init__(self) -> None:
        self.started: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.may_return = threading.Semaphore(0)

    def __call__(self, job_input: object) -> object:
        self.started.put(job_input)
        assert self.may_return.acquire(timeout=PATIENCE_SECONDS)
        return job_input


class Running:
    """A worker on a thread."""

    def __init__(self, environment: dict[str, str], do_job: Callable[[object], object]) -> None:
        self.worker = Worker(Configuration.from_environment(environment), do_job)
        self.status: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.status = self.worker.run()

    def stop(self) -> None:
        self.worker.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(PATIENCE_SECONDS * 2)
        assert not self._thread.is_alive()


Start = Callable[[Callable[[object], object]], Running]


@pytest.fixture
def start(environment: dict[str, str], broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts workers for the broker, which connect again at once."""
    monkeypatch.setattr(worker_module, "RECONNECT_SECONDS", (0.02, 0.1))
    monkeypatch.setattr(worker_module, "CONFIRMATION_SECONDS", 0.2)
    started: list[Running] = []

    def start(do_job: Callable[[object], object]) -> Running:
        started.append(Running(environment, do_job))
        return started[-1]

    yield start
    for running in started:
        running.stop()


def echo(job_input: object) -> object:
    return job_input


def logged(caplog: pytest.LogCaptureFixture, text: str) -> threading.Event:
    """Set when a line with this text is logged."""
    event = threading.Event()

    def notice(record: logging.LogRecord) -> bool:
        if text in record.getMessage():
            event.set()
        return True

    caplog.handler.addFilter(notice)
    return event


def test_asks_for_a_persistent_session_and_subscribes_with_qos_1(broker: Broker, start: Start) -> None:
    start(echo)
    connect = broker.expect(CONNECT)
    protocol, level, flags, keep_alive = struct.unpack_from(">6sBBH", connect.body)
    assert (protocol, level, flags & 0b10, keep_alive) == (b"\0\4MQTT", 4, 0, 60)
    assert connect.body.endswith(b"\0\x0btest-worker")
    assert broker.expect(SUBSCRIBE).body[2:] == b"\0\4jobs\1"


def test_a_job_is_acknowledged_once_its_answer_is_confirmed(broker: Broker, start: Start) -> None:
    start(echo)
    broker.expect_connected()
    broker.publish(job({"a": 1}), 7)
    answer = broker.expect(PUBLISH)
    assert answer.topic == "answers"
    assert answer.flags == 0b0010  # QoS 1, not retained
    assert json.loads(answer.payload) == {"result": {"a": 1}, "TaskToken": TOKEN}
    broker.publish(b"not JSON", 8)
    assert broker.expect(PUBACK).packet_id == 8  # and 7 has not been, or it would have come first
    broker.confirm(answer)
    assert broker.expect(PUBACK).packet_id == 7


def test_an_exception_goes_back_as_an_error(broker: Broker, start: Start) -> None:
    def fail(job_input: object) -> object:
        raise KeyError(job_input)

    start(fail)
    broker.expect_connected()
    broker.publish(job("b"), 1)
    answer = json.loads(broker.expect(PUBLISH).payload)
    assert answer == {"error": "KeyError", "cause": "'b'", "TaskToken": TOKEN}


@pytest.mark.parametrize(
    ("result", "error"), [("x" * 131_072, "OverflowError"), (object(), "TypeError"), (float("nan"), "ValueError")]
)
def test_a_result_that_cannot_be_sent_goes_back_as_an_error(
    broker: Broker, start: Start, result: object, error: str
) -> None:
    start(lambda _: result)
    broker.expect_connected()
    broker.publish(job(1), 1)
    answer = json.loads(broker.expect(PUBLISH).payload)
    assert (answer["error"], answer["TaskToken"]) == (error, TOKEN)


def test_messages_that_are_no_jobs_do_not_stop_it(broker: Broker, start: Start) -> None:
    start(echo)
    broker.expect_connected()
    for packet_id, payload in enumerate((b"", b"\xff", b"[]", b'{"Input": 1}'), start=1):
        broker.publish(payload, packet_id)
        assert broker.expect(PUBACK).packet_id == packet_id
    broker.publish(b'{"TaskToken": "t"}', 5)
    answer = broker.expect(PUBLISH)
    assert json.loads(answer.payload)["error"] == "MalformedJobError"
    broker.confirm(answer)
    assert broker.expect(PUBACK).packet_id == 5
    broker.publish(job(1), 6)
    assert json.loads(broker.expect(PUBLISH).payload)["result"] == 1


def test_a_long_job_does_not_break_the_connection(
    broker: Broker, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "KEEP_ALIVE_SECONDS", 1)
    work = Work()
    start(work)
    broker.expect_connected()
    broker.publish(job(1), 1)
    work.started.get(timeout=PATIENCE_SECONDS)
    broker.expect(PINGREQ)
    broker.expect(PINGREQ)
    work.may_return.release()
    broker.expect(PUBLISH)


def test_a_job_delivered_again_while_in_hand_is_done_once(broker: Broker, start: Start) -> None:
    work = Work()
    start(work)
    broker.expect_connected()
    broker.publish(job(1), 1)
    work.started.get(timeout=PATIENCE_SECONDS)
    broker.hang_up()
    broker.expect_connected()
    broker.publish(job(1), 2, duplicate=True)
    broker.publish(b"", 3)
    assert broker.expect(PUBACK).packet_id == 3  # so it has seen the one before
    work.may_return.release()
    answer = broker.expect(PUBLISH)
    broker.confirm(answer)
    assert broker.expect(PUBACK).packet_id == 2  # as it was on this connection
    assert work.started.empty()


def test_a_job_answered_on_another_connection_is_not_acknowledged_by_its_old_number(
    broker: Broker, start: Start
) -> None:
    work = Work()
    start(work)
    broker.expect_connected()
    broker.publish(job(1), 1)
    work.started.get(timeout=PATIENCE_SECONDS)
    broker.hang_up()
    broker.expect_connected()
    work.may_return.release()
    broker.confirm(broker.expect(PUBLISH))
    broker.publish(b"", 9)
    assert broker.expect(PUBACK).packet_id == 9  # not 1, which may be another message's by now
    broker.publish(job(1), 1, duplicate=True)
    assert broker.expect(PUBACK).packet_id == 1
    assert work.started.empty()


def test_an_answer_that_was_not_confirmed_is_sent_again(broker: Broker, start: Start) -> None:
    start(echo)
    broker.expect_connected()
    broker.publish(job(1), 1)
    first = broker.expect(PUBLISH)
    broker.hang_up()
    broker.expect_connected()
    again = broker.expect(PUBLISH)
    assert (again.payload, again.flags) == (first.payload, 0b1010)
    broker.publish(job(1), 1, duplicate=True)
    broker.confirm(again)
    assert broker.expect(PUBACK).packet_id == 1


def test_stopping_finishes_the_job_in_hand_and_leaves_the_others(broker: Broker, start: Start) -> None:
    work = Work()
    running = start(work)
    broker.expect_connected()
    broker.publish(job(1, "first-token-of-two"), 1)
    broker.publish(job(2, "second-token-of-two"), 2)
    assert work.started.get(timeout=PATIENCE_SECONDS) == 1
    running.worker.stop()
    work.may_return.release()
    answer = broker.expect(PUBLISH)
    assert json.loads(answer.payload)["result"] == 1
    broker.confirm(answer)
    assert broker.expect(PUBACK).packet_id == 1
    broker.expect(DISCONNECT)
    running.join()
    assert running.status == 0
    assert work.started.empty()


def test_stopping_does_not_wait_for_ever_for_a_confirmation(broker: Broker, start: Start) -> None:
    running = start(echo)
    broker.expect_connected()
    broker.publish(job(1), 1)
    broker.expect(PUBLISH)
    running.stop()
    assert running.status == 0


def test_stops_while_there_is_no_connection(broker: Broker, start: Start) -> None:
    running = start(echo)
    broker.expect_connected()
    broker.close()
    running.stop()
    assert running.status == 0


def test_ends_with_an_error_when_it_may_not_subscribe(
    broker: Broker, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    broker.suback_code = 0x80
    running = start(echo)
    running.join()
    assert running.status == 1
    assert "iot:Subscribe" in caplog.text


def test_goes_on_trying_when_it_is_refused(broker: Broker, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    broker.connack_code = 5
    start(echo)
    broker.expect(CONNECT)
    broker.expect(CONNECT)
    broker.connack_code = 0
    broker.expect(CONNECT)
    broker.expect(SUBSCRIBE)
    assert "Is the certificate active" in caplog.text


def test_says_what_to_look_at_when_its_certificate_is_not_taken(
    certificates: Path, environment: dict[str, str], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    # With TLS 1.3 the client's handshake is over before the server has looked at its certificate.
    trusts_another = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "server.pem")
    trusts_another.verify_mode = ssl.CERT_REQUIRED
    trusts_another.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    suspicious = Broker(trusts_another)
    environment["PORT"] = str(suspicious.port)
    told = logged(caplog, "Is the certificate registered and active?")
    start(echo)
    assert told.wait(PATIENCE_SECONDS)
    assert "Lost the connection" not in caplog.text
    suspicious.close()


def test_says_what_to_look_at_when_its_answer_ends_the_connection(
    broker: Broker, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    told = logged(caplog, "does the worker's policy allow iot:Publish on answers?")
    start(echo)
    broker.expect_connected()
    broker.publish(job(1), 1)
    broker.expect(PUBLISH)
    broker.hang_up()
    assert told.wait(PATIENCE_SECONDS)


def test_connects_when_the_endpoint_appears(
    server_context: ssl.SSLContext, broker: Broker, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker.close()
    failed = logged(caplog, "No connection to")
    start(echo)
    assert failed.wait(PATIENCE_SECONDS)
    later = Broker(server_context, broker.port)
    later.expect_connected()
    later.close()
    assert "Connection refused" in caplog.text
