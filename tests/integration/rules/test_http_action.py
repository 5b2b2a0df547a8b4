"""The http action against a real endpoint."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.rules.conftest import ROLE, Endpoint, World, run

from stepbridge.api.errors import AwsError
from stepbridge.api.moto_backend import MotoBackend
from stepbridge.clock import ManualClock
from stepbridge.iot.rules.destinations import Destinations
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace


async def _create(world: World, handler: type[Endpoint], sql: str, *actions: dict[str, Any], **members: Any) -> None:
    """Create a rule and enable its destination, as its owner would."""
    sent = asyncio.Event()
    world.trace.listen(lambda hop: sent.set() if hop.event == "destination-confirmation" else None)
    await world.create(sql, *actions, **members)
    await sent.wait()
    await world.service.confirm_topic_rule_destination(world.caller, {"confirmationToken": _token(handler)})


def _token(handler: type[Endpoint]) -> str:
    token: str = json.loads(handler.received[-1][1])["confirmationToken"]
    return token


def _bodies(handler: type[Endpoint]) -> list[Any]:
    return [json.loads(body) for headers, body in handler.received if "x-amz-rules-engine-message-type" not in headers]


def test_http_needs_a_confirmed_destination(moto: MotoBackend, endpoint: tuple[str, type[Endpoint]]) -> None:
    url, handler = endpoint

    async def test(world: World) -> None:
        sent = asyncio.Event()
        world.trace.listen(lambda hop: sent.set() if hop.event == "destination-confirmation" else None)
        action: dict[str, Any] = {"url": url + "/in/${topic(2)}", "confirmationUrl": url + "/in"}
        action["headers"] = [{"key": "x-n", "value": "${n}"}]
        await world.create("SELECT * FROM 'a/+'", {"http": action})
        await sent.wait()
        [(headers, body)] = handler.received
        assert headers["x-amz-rules-engine-message-type"] == "DestinationConfirmation"
        request = json.loads(body)
        assert handler.paths == [f"/in/?confirmationToken={request['confirmationToken']}"]
        [destination] = (await world.service.list_topic_rule_destinations(world.caller, {}))["destinationSummaries"]
        assert (destination["arn"], destination["status"]) == (request["arn"], "IN_PROGRESS")
        assert destination["httpUrlSummary"] == {"confirmationUrl": url + "/in"}
        await world.publish({"n": 1})  # not confirmed yet
        token = {"confirmationToken": request["confirmationToken"]}
        await world.service.confirm_topic_rule_destination(world.caller, token)
        await world.publish({"n": 2})
        handler.statuses[:] = [503, 429]
        await world.publish(b"\xff")
        handler.statuses[:] = [400]
        await world.publish({"n": 3})
        arn = {"arn": request["arn"]}
        await world.service.update_topic_rule_destination(world.caller, {**arn, "status": "DISABLED"})
        described = await world.service.get_topic_rule_destination(world.caller, arn)
        assert described["topicRuleDestination"]["status"] == "DISABLED"
        await world.publish({"n": 4})
        await world.service.delete_topic_rule_destination(world.caller, arn)
        with pytest.raises(AwsError, match="was denied"):
            await world.service.get_topic_rule_destination(world.caller, arn)

    failures = run(moto, test).failures()
    messages = [(headers["Content-Type"], headers.get("x-n"), body) for headers, body in handler.received[1:]]
    assert messages == [
        ("application/json", "2", b'{"n":2}'),
        *[("application/octet-stream", "", b"\xff")] * 3,
        ("application/json", "3", b'{"n":3}'),
    ]
    assert len(failures) == 3
    assert f"There is no enabled topic rule destination for {url}/in/b" in failures[0]
    refused = "HttpAction failed to make a request to the specified endpoint. StatusCode: 400. Reason: Bad Request."
    assert refused in failures[1]


def test_an_endpoint_that_ends_the_connection_is_not_tried_again(
    moto: MotoBackend, endpoint: tuple[str, type[Endpoint]]
) -> None:
    url, handler = endpoint

    async def test(world: World) -> None:
        headers = [{"key": "content-type", "value": "text/plain"}]
        await _create(world, handler, "SELECT * FROM 'a/+'", {"http": {"url": url, "headers": headers}})
        handler.statuses[:] = [503, -503]
        await world.publish({"n": 1})

    failures = run(moto, test).failures()
    tries = [headers for headers, body in handler.received if body == b'{"n":1}']
    assert [headers["content-type"] for headers in tries] == ["text/plain"] * 2
    assert "Content-Type" not in tries[0]
    assert len(failures) == 1
    assert "StatusCode: 503" in failures[0]


def test_what_http_cannot_send_fails_the_action(moto: MotoBackend, endpoint: tuple[str, type[Endpoint]]) -> None:
    url, handler = endpoint

    async def test(world: World) -> None:
        headers = [{"key": "x-n", "value": "${n}"}]
        await _create(
            world,
            handler,
            "SELECT * FROM 'a/+'",
            {"http": {"url": url + "/${p}", "confirmationUrl": url, "headers": headers}},
        )
        for payload in ({"n": "a\nb"}, {"n": "€"}, {"n": 1, "p": "a b"}, {"n": 1, "p": "é"}, {"n": 1, "p": "\u0000"}):
            await world.publish(payload)

    failures = run(moto, test).failures()
    assert len(failures) == 5
    assert all("HttpAction failed to make a request to the specified endpoint. The" in failure for failure in failures)
    assert not _bodies(handler)


def test_a_batch_is_full_by_number_or_by_size(moto: MotoBackend, endpoint: tuple[str, type[Endpoint]]) -> None:
    url, handler = endpoint

    async def test(world: World) -> None:
        config = {"maxBatchOpenMs": 200, "maxBatchSize": 3, "maxBatchSizeBytes": 100}
        headers = [{"key": "x-n", "value": "${n}"}]
        http = {"url": url, "headers": headers, "enableBatching": True, "batchConfig": config}
        await _create(world, handler, "SELECT * FROM '+/b'", {"http": http})
        await world.publish({"n": 1}, {"n": 2}, {"n": 3}, {"n": 4})
        await world.publish({"n": 5, "text": "x" * 60}, {"n": 6, "text": "x" * 60}, {"n": 7, "text": "x" * 200})
        await world.publish(b"plain text", b"\xff")
        for topic in ("a/b", "c/b", "a/b"):
            world.accept(topic, {"topic": topic})
        await world.engine.idle()

    failures = run(moto, test).failures()
    assert sorted(_bodies(handler), key=json.dumps) == sorted(
        [
            [{"n": 1}, {"n": 2}, {"n": 3}],
            [{"n": 4}],
            [{"n": 5, "text": "x" * 60}],
            [{"n": 6, "text": "x" * 60}],
            [{"n": 7, "text": "x" * 200}],
            ["plain text"],
            [{"topic": "a/b"}, {"topic": "a/b"}],
            [{"topic": "c/b"}],
        ],
        key=json.dumps,
    )
    of_three = next(headers for headers, body in handler.received if b'{"n":3}' in body)
    assert (of_three["x-n"], of_three["Content-Type"]) == ("3", "application/json")
    assert len(failures) == 1
    assert "not UTF-8" in failures[0]


def test_the_error_action_gets_one_message_about_a_batch(
    moto: MotoBackend, endpoint: tuple[str, type[Endpoint]]
) -> None:
    url, handler = endpoint

    async def test(world: World) -> None:
        http: dict[str, Any] = {
            "url": url,
            "enableBatching": True,
            "batchConfig": {"maxBatchSize": 2, "maxBatchOpenMs": 200},
        }
        http["batchConfig"]["batchAcrossTopics"] = True
        await _create(
            world,
            handler,
            "SELECT * FROM '#'",
            {"http": http},
            {"republish": {"roleArn": ROLE, "topic": "${CASE n WHEN 2 THEN '#' ELSE 'ok' END}"}},
            errorAction={"republish": {"roleArn": ROLE, "topic": "errors"}},
        )
        handler.statuses[:] = [400]
        world.accept("a", {"n": 1}, client_id="c", trace_id="t1", source_ip="10.0.0.1")
        world.accept("b", {"n": 2}, client_id="c", trace_id="t2", source_ip="10.0.0.1")
        await world.engine.idle()

    world = run(moto, test)
    [error] = [json.loads(message.payload) for message in world.published if message.topic == "errors"]
    assert error["failures"][1].pop("errorMessage").startswith("Failed to republish to topic. The error received was ")
    assert error == {
        "ruleName": "r",
        "payloadsWithMetadata": [
            {
                "id": number,
                "topic": topic,
                "cloudwatchTraceId": f"t{number}",
                "clientId": "c",
                "sourceIp": "10.0.0.1",
                "base64OriginalPayload": payload,
            }
            for number, topic, payload in ((1, "a", "eyJuIjogMX0="), (2, "b", "eyJuIjogMn0="))
        ],
        "failures": [
            {
                "affectedIds": [1, 2],
                "failedAction": "HttpAction",
                "failedResource": url,
                "errorMessage": "HttpAction failed to make a request to the specified endpoint. "
                "StatusCode: 400. Reason: Bad Request.",
            },
            {
                "affectedIds": [2],
                "failedAction": "RepublishAction",
                "failedResource": "${CASE n WHEN 2 THEN '#' ELSE 'ok' END}",
            },
        ],
    }


def test_a_destination_is_confirmed_before_it_is_enabled(endpoint: tuple[str, type[Endpoint]]) -> None:
    url, handler = endpoint
    clock = ManualClock()
    settings, trace = Settings(Path("/nowhere")), Trace(clock)

    async def test() -> None:
        sent = asyncio.Event()
        trace.listen(lambda hop: sent.set())
        destinations = Destinations(settings, Store(None), clock, trace, lambda: "http://127.0.0.1:4566")
        arn = destinations.create(url + "/in?a=b")["arn"]
        await sent.wait()
        assert handler.paths[-1] == f"/in?a=b&confirmationToken={_token(handler)}"
        for status in ("ENABLED", "DISABLED"):
            with pytest.raises(AwsError, match="The destination has not been confirmed, it is IN_PROGRESS"):
                destinations.update(arn, status)
        clock.advance(3 * 86_400 + 1)
        with pytest.raises(AwsError, match="The confirmation token is not valid"):
            destinations.confirm(_token(handler), enable=True)
        assert destinations.describe(arn)["status"] == "ERROR"
        old = _token(handler)
        sent.clear()
        destinations.update(arn, "IN_PROGRESS")
        await sent.wait()
        with pytest.raises(AwsError, match="The confirmation token is not valid"):
            destinations.confirm(old, enable=True)
        destinations.confirm(_token(handler), enable=False)
        assert destinations.describe(arn)["status"] == "DISABLED"
        assert not destinations.is_enabled(url + "/in?a=b")
        with pytest.raises(AwsError, match="The confirmation token is not valid"):
            destinations.confirm(_token(handler), enable=True)
        destinations.update(arn, "ENABLED")
        assert destinations.is_enabled(url + "/in?a=b")
        with pytest.raises(AwsError, match="A destination cannot be set to DELETING"):
            destinations.update(arn, "DELETING")
        await destinations.stop()

    asyncio.run(test())
