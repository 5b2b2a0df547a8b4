"""The destination of an HTTP rule action is confirmed by the link in the message that it is sent."""

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.harness import wait_until

from stepbridge.testing import EmulatorProcess


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The URL of an endpoint, and what it has been sent."""
    messages: list[dict[str, str]] = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be silent."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/in", messages
    server.shutdown()
    thread.join()
    server.server_close()


def created(iot: Any, url: str, messages: list[dict[str, str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """A destination, and the message that its endpoint gets."""
    configuration = {"httpUrlConfiguration": {"confirmationUrl": url}}
    made = iot.create_topic_rule_destination(destinationConfiguration=configuration)["topicRuleDestination"]
    return made, wait_until(lambda: messages[0] if messages else None, "the confirmation message")


def test_opening_the_link_enables_the_destination(
    stepbridge: EmulatorProcess, received: tuple[str, list[dict[str, str]]]
) -> None:
    url, messages = received
    iot = stepbridge.client("iot")
    made, message = created(iot, url, messages)
    assert made["status"] == "IN_PROGRESS"
    with urllib.request.urlopen(message["enableUrl"]) as answer:  # as the endpoint's owner does, without credentials
        assert answer.status == 200
    assert iot.get_topic_rule_destination(arn=made["arn"])["topicRuleDestination"]["status"] == "ENABLED"


def test_the_operation_confirms_and_leaves_it_to_be_enabled(
    stepbridge: EmulatorProcess, received: tuple[str, list[dict[str, str]]]
) -> None:
    url, messages = received
    iot = stepbridge.client("iot")
    made, message = created(iot, url, messages)
    arn = made["arn"]
    iot.confirm_topic_rule_destination(confirmationToken=message["confirmationToken"])
    assert iot.get_topic_rule_destination(arn=arn)["topicRuleDestination"]["status"] == "DISABLED"
    iot.update_topic_rule_destination(arn=arn, status="ENABLED")
    assert iot.get_topic_rule_destination(arn=arn)["topicRuleDestination"]["status"] == "ENABLED"
