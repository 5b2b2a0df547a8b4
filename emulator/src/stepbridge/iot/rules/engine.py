"""The rules engine: which rules a message concerns, and seeing their actions done.

A message is evaluated at once, which takes microseconds; what its actions do goes on in tasks, a bounded number at a
time.  A message of quality of service 1 is acknowledged to its publisher when it has been accepted, so its deliveries
are rows in the database until they are done, and are taken up again after a restart.
"""

import asyncio
import base64
import json
import logging
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.iot.message import Message, MessageProperties
from stepbridge.iot.mqtt.topics import basic_ingest_rule
from stepbridge.iot.rules.actions import Action, ActionError, Delivery, RuleServices
from stepbridge.iot.rules.destinations import Destinations
from stepbridge.iot.rules.external import ExternalFunctions
from stepbridge.iot.rules.failures import Failure, error_messages
from stepbridge.iot.rules.logs import RuleLogs
from stepbridge.iot.rules.roles import Roles
from stepbridge.iot.rules.rule import Rule, RuleError
from stepbridge.iot.rules.sql import (
    Evaluation,
    ExternalCall,
    Failed,
    Input,
    Mqtt5Properties,
    NoMatch,
    Outcome,
    Output,
    SqlError,
    TopicTrie,
    Value,
)
from stepbridge.iot.rules.sql.values import json_text
from stepbridge.settings import Settings
from stepbridge.store import Store
from stepbridge.trace import Trace

_log = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE rules_rule (
    name TEXT PRIMARY KEY,
    payload TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE TABLE rules_delivery (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
"""

MAX_RUNNING = 256
# Waiting deliveries beyond this are dropped, with a hop that says so: AWS throttles too (RuleMessageThrottled).
MAX_WAITING = 100_000
# How long stopping waits for what is under way, in seconds.
_DRAIN_SECONDS = 3.0
# developerguide/iot-rule-actions.html: "AWS IoT might make multiple attempts to perform an action".
_RETRY_AFTER = (0.1, 0.4)
_TRANSIENT = ("Throttling", "TooManyRequests", "ServiceUnavailable", "InternalFailure", "InternalServerError")


@dataclass(frozen=True, slots=True)
class _Job:
    """A message that a rule has matched, or may match once an external call is answered.

    `row` is its place in the database, None for a message of quality of service 0.
    """

    rule: Rule
    message: Message
    evaluation: Evaluation
    outcome: Outcome
    row: int | None


class RulesEngine:
    """The rules of one emulator, and the messages on their way through them."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, trace: Trace, services: RuleServices) -> None:
        store.migrate("rules", [_TABLES])
        self._settings = settings
        self._store = store
        self._clock = clock
        self._trace = trace
        self._services = services
        self.roles = Roles(settings, clock, services.calls)
        self.destinations = Destinations(settings, store, clock, trace, services.endpoint)
        self.logs = RuleLogs(settings, store, clock, trace, services.calls)
        self._external = ExternalFunctions(settings, clock, services, self.roles)
        self._rules: dict[str, Rule] = {}
        self._trie: TopicTrie[Rule] = TopicTrie()
        self._waiting: deque[_Job] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._draining = False
        last = store.query_one("SELECT max(id) AS id FROM rules_delivery")
        self._last_row: int = (last and last["id"]) or 0
        for row in store.query("SELECT name, payload, created_at FROM rules_rule"):
            try:
                self._rules[row["name"]] = Rule(row["name"], json.loads(row["payload"]), row["created_at"])
            except (SqlError, RuleError) as error:  # accepted by another version of stepbridge
                trace.emit("rules", "rule-refused", f"{row['name']} is not run: {error}", rule=row["name"])
        self._index()

    # Rules

    @property
    def clock(self) -> Clock:
        """The engine's clock."""
        return self._clock

    @property
    def rules(self) -> Mapping[str, Rule]:
        """All rules by name."""
        return self._rules

    def arn(self, name: str) -> str:
        """The ARN of the rule `name`."""
        return f"arn:aws:iot:{self._settings.region}:{self._settings.account}:rule/{name}"

    def put(self, rule: Rule) -> None:
        """Create or replace a rule."""
        self._store.execute(
            "INSERT OR REPLACE INTO rules_rule VALUES (?, ?, ?)", (rule.name, json.dumps(rule.payload), rule.created_at)
        )
        self._rules[rule.name] = rule
        self._index()

    def remove(self, name: str) -> None:
        """Delete a rule, if it is there."""
        if self._rules.pop(name, None) is not None:
            self._store.execute("DELETE FROM rules_rule WHERE name = ?", (name,))
            self._index()

    def _index(self) -> None:
        self._trie = TopicTrie()
        for rule in self._rules.values():
            if not rule.is_disabled and rule.statement.topic_filter is not None:
                self._trie.add(rule.statement.topic_filter, rule)

    # Messages

    async def start(self) -> None:
        """Go on with what had been accepted and was not done when the emulator ended."""
        for row in self._store.query("SELECT id, rule, message, payload FROM rules_delivery ORDER BY id"):
            rule = self._rules.get(row["rule"])
            if rule is None:
                self._done(row["id"])
                continue
            message = _read_message(row["message"], row["payload"])
            evaluation = self._evaluation(rule, message)
            self._enqueue(_Job(rule, message, evaluation, rule.statement.run(evaluation), row["id"]))

    async def drain(self) -> None:
        """The emulator is about to stop: let what is under way be done, for a while."""
        if not self._draining and self._running:
            self._draining = True
            await asyncio.wait(self._running, timeout=_DRAIN_SECONDS)

    async def stop(self) -> None:
        """Finish what is in hand; what takes longer is told, or done after the next start if it is in the database."""
        await self.drain()
        for job in self._waiting:
            if job.row is None:
                self._emit("dropped", f"{job.rule.name}: not done when stepbridge stopped", job.rule.name, job.message)
        self._waiting.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.destinations.stop()
        await self.logs.flush()

    async def idle(self) -> None:
        """Return when nothing is under way."""
        while self._running:
            await asyncio.wait(self._running)
        await self.logs.flush()

    def accept(self, message: Message) -> None:
        """Take a message that the broker has accepted through the rules it concerns.

        Returns at once.  For quality of service 1 the broker acknowledges after `store.committed()`.
        """
        ingested = basic_ingest_rule(message.topic)
        rules = self._trie.find(message.topic) if ingested is None else self._ingesting(ingested[0], message)
        if rules and message.trace_id is None:
            message = replace(message, trace_id=str(uuid.uuid4()))
        for rule in rules:
            self._consider(rule, message)

    def _ingesting(self, name: str, message: Message) -> list[Rule]:
        rule = self._rules.get(name)
        if rule is None or rule.is_disabled:
            what = "is disabled" if rule else "does not exist"
            self._emit("rule-not-found", f"{message.topic}: the rule {name} {what}", name, message)
            details = {"reason": "RuleNotFound", "details": f"Rule {name} not found"}
            self.logs.write("ERROR", "RuleNotFound", name, message, details)
            return []
        return [rule]

    def _consider(self, rule: Rule, message: Message) -> None:
        evaluation = self._evaluation(rule, message)
        outcome = rule.statement.run(evaluation)
        if isinstance(outcome, NoMatch | Failed):
            self._tell_no_output(rule, message, outcome)
        else:
            row = None
            if message.qos > 0:
                self._last_row += 1
                row = self._last_row
                self._store.execute(
                    "INSERT INTO rules_delivery VALUES (?, ?, ?, ?)",
                    (row, rule.name, _write_message(message), message.payload),
                )
            self._enqueue(_Job(rule, message, evaluation, outcome, row))

    def _evaluation(self, rule: Rule, message: Message) -> Evaluation:
        ingested = basic_ingest_rule(message.topic)
        properties = message.properties
        return rule.statement.start(
            Input(
                topic=message.topic if ingested is None else ingested[1],
                payload=message.payload,
                timestamp=int(self._clock.now() * 1000),
                account=self._settings.account,
                client_id=message.client_id,
                principal=message.principal,
                source_ip=message.source_ip,
                trace_id=None if message.client_id is None else message.trace_id,
                properties=_NO_PROPERTIES if properties == _NO_MESSAGE_PROPERTIES else _mqtt5(properties),
                seed=uuid.uuid4().int,
            )
        )

    # Deliveries

    def _enqueue(self, job: "_Job") -> None:
        if len(self._waiting) >= MAX_WAITING:
            text = f"{job.rule.name}: dropped a message on {job.message.topic}, {MAX_WAITING} others wait"
            self._emit("throttled", text, job.rule.name, job.message)
            details = {"reason": "RuleExecutionThrottled", "details": f"Message for Rule {job.rule.name} throttled"}
            self.logs.write("ERROR", "RuleMessageThrottled", job.rule.name, job.message, details)
            self._done(job.row)
            return
        self._waiting.append(job)
        if len(self._running) < MAX_RUNNING:
            task = asyncio.get_running_loop().create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        """See deliveries done, one after another, as long as there are any."""
        while self._waiting:
            job = self._waiting.popleft()
            try:
                await self._deliver(job)
            except asyncio.CancelledError:
                if job.row is None:
                    self._emit("dropped", f"{job.rule.name}: ended by stepbridge stopping", job.rule.name, job.message)
                raise
            except Exception as error:  # a mistake of ours: tell it, and go on with the others
                _log.exception("A delivery of the rule %s failed", job.rule.name)
                text = f"{job.rule.name}: {type(error).__name__} in stepbridge, see its log: {error}"
                self._emit("action-failed", text, job.rule.name, job.message)
            self._done(job.row)

    def _done(self, row: int | None) -> None:
        if row is not None:
            self._store.execute("DELETE FROM rules_delivery WHERE id = ?", (row,))

    async def _deliver(self, job: "_Job") -> None:
        rule, message, outcome = job.rule, job.message, job.outcome
        arn = self.arn(rule.name)

        async def resolve(evaluation: Evaluation, call: ExternalCall) -> None:
            answer = await self._external.answer(call, arn, evaluation.version)
            self._log_function(rule, message, call, answer)
            evaluation.answer(call, answer)

        while isinstance(outcome, ExternalCall):
            await resolve(job.evaluation, outcome)
            outcome = rule.statement.run(job.evaluation)
        if not isinstance(outcome, Output):
            self._tell_no_output(rule, message, outcome)
            return
        self._emit("rule-matched", f"{rule.name} matched {message.topic}", rule.name, message)
        self.logs.write("INFO", "RuleMatch", rule.name, message)
        delivery = Delivery(
            rule.name,
            arn,
            message,
            job.evaluation,
            outcome,
            self._settings,
            self._clock,
            self._services,
            self.roles,
            self.destinations,
            resolve,
        )
        results = await asyncio.gather(*[self._act(action, delivery) for action in rule.actions])
        failures = [result for result in results if result is not None]
        if rule.error_action is None:
            return
        for value in error_messages(rule.name, message, failures):
            output = Output(value, json_text(value).encode(errors="replace"))
            await self._act(rule.error_action, replace(delivery, output=output))

    def _tell_no_output(self, rule: Rule, message: Message, outcome: NoMatch | Failed) -> None:
        if isinstance(outcome, NoMatch):
            self._emit("no-match", f"{rule.name} does not match {message.topic}: {outcome.reason}", rule.name, message)
        else:
            self._emit("sql-failed", f"{rule.name} failed: {outcome.message}", rule.name, message)
            details = {"details": outcome.message}
            self.logs.write("ERROR", "RuleExecution", rule.name, message, details)

    def _log_function(self, rule: Rule, message: Message, call: ExternalCall, answer: Value | Failed) -> None:
        failure = {"details": answer.message} if isinstance(answer, Failed) else {}
        details = {"clientId": "N/A", "ruleAction": _function_name(call.function), **failure}
        self.logs.write("ERROR" if failure else "DEBUG", "FunctionExecution", rule.name, message, details)

    async def _act(self, action: Action, delivery: Delivery) -> Failure | None:
        """Carry out one action; its failure, or None if it is done."""
        name, message = delivery.rule_name, delivery.message
        self.logs.write("DEBUG", "StartingRuleExecution", name, message, {"ruleAction": action.log_name})
        try:
            resources = await self._attempt(action, delivery)
        except (AwsError, ActionError) as error:
            text = action.error_message(delivery, error)
            self._emit("action-failed", f"{name}: {text}", name, message, action=action.name, error=str(error))
            details = {"ruleAction": action.log_name, "details": text}
            self.logs.write("ERROR", "RuleExecution", name, message, details)
            return Failure(error, action.log_name, action.target.text, text)
        what = ", ".join(resources.values())
        self._emit("action-done", f"{name}: {action.name} → {what}", name, message, action=action.name, **resources)
        done = {"ruleAction": action.log_name, "resources": dict(resources)}
        self.logs.write("INFO", "RuleExecution", name, message, done)
        return None

    async def _attempt(self, action: Action, delivery: Delivery) -> Mapping[str, str]:
        for wait in _RETRY_AFTER:
            try:
                return await action.run(delivery)
            except AwsError as error:
                if not _is_transient(error):
                    raise
            await self._clock.sleep(wait)
        return await action.run(delivery)

    def _emit(self, event: str, text: str, rule: str, message: Message, **fields: object) -> None:
        self._trace.emit("rules", event, text, rule=rule, topic=message.topic, trace_id=message.trace_id, **fields)


_NO_MESSAGE_PROPERTIES = MessageProperties()
_NO_PROPERTIES = Mqtt5Properties()


def _mqtt5(properties: MessageProperties) -> Mqtt5Properties:
    correlation = properties.correlation_data
    return Mqtt5Properties(
        content_type=properties.content_type,
        format_indicator=None if properties.payload_is_utf8 is None else _FORMAT_INDICATORS[properties.payload_is_utf8],
        response_topic=properties.response_topic,
        correlation_data=None if correlation is None else base64.b64encode(correlation).decode(),
        user_properties=properties.user_properties,
    )


_FORMAT_INDICATORS = {True: "UTF8_DATA", False: "UNSPECIFIED_BYTES"}


def _function_name(function: str) -> str:
    """A function as the entries of the log name it: get_thing_shadow is GetThingShadow."""
    return "".join(part.capitalize() for part in function.split("_"))


def _is_transient(error: AwsError) -> bool:
    return (error.status or 400) >= 500 or error.status == 429 or error.code.startswith(_TRANSIENT)


def _write_message(message: Message) -> str:
    members = asdict(message)
    del members["payload"]
    correlation = message.properties.correlation_data
    members["properties"]["correlation_data"] = None if correlation is None else correlation.hex()
    return json.dumps(members)


def _read_message(text: str, payload: bytes) -> Message:
    members = json.loads(text)
    properties = members.pop("properties")
    if properties["correlation_data"] is not None:
        properties["correlation_data"] = bytes.fromhex(properties["correlation_data"])
    properties["user_properties"] = tuple((key, value) for key, value in properties["user_properties"])
    return Message(**members, payload=payload, properties=MessageProperties(**properties))
