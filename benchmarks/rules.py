"""The rules engine: evaluations per second on a core, and what rules that do not match cost a message.

Evaluations are those of the compiled statement, payload and outcome as bytes.  Messages go through the broker over TLS
(see :mod:`benchmarks.broker`), without rules and with 1,000 whose topics they do not match.
"""

import tempfile
import time
from pathlib import Path

from benchmarks.broker import device
from benchmarks.devices import Address, flow
from stepbridge.iot.rules.sql import VERSION_2016, Input, NoMatch, Output, Statement
from stepbridge.testing import EmulatorProcess

STATEMENTS = (
    "SELECT * FROM 'a/+/b'",
    "SELECT *, topic(2) AS device FROM 'a/+/b' WHERE temp > 50",
    "SELECT temp * 1.8 + 32 AS fahrenheit, timestamp() AS at FROM 'a/+/b' WHERE temp > 50 AND state = 'on'",
    "SELECT CASE state WHEN 'on' THEN 1 ELSE 0 END AS running, concat(topic(2), '/', state) AS name FROM 'a/+/b'",
    "SELECT (SELECT VALUE v FROM readings WHERE v > 2) AS high FROM 'a/+/b' WHERE temp > 90",
)
PAYLOAD = b'{"temp": 61.5, "state": "on", "readings": [{"v": 1}, {"v": 2}, {"v": 3}]}'
RULES = 1000
SECONDS = 1.0


def main() -> None:
    """Print the figures."""
    for text in STATEMENTS:
        print(f"{evaluations_per_second(Statement(text, VERSION_2016)):>10,.0f} evaluations/s   {text}")
    without, among = messages_per_second()
    print(f"{without:>10,.0f} messages/s without rules, {among:,.0f} with {RULES:,} that do not match")


def evaluations_per_second(statement: Statement) -> float:
    """By the time of the processor, the payload parsed each time."""
    message = Input("a/device-1/b", PAYLOAD, 1_700_000_000_000, "123456789012", client_id="device-1")
    assert isinstance(statement.run(statement.start(message)), Output | NoMatch)
    count, elapsed = 0, 0.0
    began = time.process_time()
    while elapsed < SECONDS:
        for _ in range(1000):
            statement.run(statement.start(message))
        count += 1000
        elapsed = time.process_time() - began
    return count / elapsed


def messages_per_second() -> tuple[float, float]:
    """QoS 1 deliveries of one connection, before and after the rules are created: in turns, and the best of each."""
    without, among = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        emulator = EmulatorProcess(Path(folder))
        emulator.start()
        try:
            iot = emulator.client("iot")
            context = device(iot, Path(folder))
            address = Address("localhost", emulator.endpoints["mqtt_port"], context)
            function = f"arn:aws:lambda:{emulator.endpoints['region']}:{emulator.endpoints['account']}:function:bench"
            for _ in range(3):
                without = max(without, flow(address, 1, 50, 2 * SECONDS).rate)
                for number in range(RULES):
                    sql = f"SELECT * FROM 'fleet/{number}/+' WHERE temp > 50"
                    payload = {"sql": sql, "actions": [{"lambda": {"functionArn": function}}]}
                    iot.create_topic_rule(ruleName=f"bench_{number}", topicRulePayload=payload)
                among = max(among, flow(address, 1, 50, 2 * SECONDS).rate)
                for number in range(RULES):
                    iot.delete_topic_rule(ruleName=f"bench_{number}")
        finally:
            emulator.stop()
    return without, among
