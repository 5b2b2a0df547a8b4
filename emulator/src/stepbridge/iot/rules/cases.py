"""Trying statements without a broker: one statement on one message, and files of cases with what is expected.

A file of cases is a JSON array of objects (or one such object):

    {"id": "hot", "sql": "SELECT temp FROM 'a/+' WHERE temp > 50", "topic": "a/1",
     "payload": {"temp": 60}, "expected": {"temp": 60}}

`template` in place of `sql` (or beside it, for its variables) tries a substitution template.  Optional members:

- `sql_version`: 2016-03-23 unless it says otherwise
- `payload_encoding`: `json`, `text`, `base64`
- `context`: `timestamp`, `clientid`, `accountid`, `principal`, `sourceip`, `traceid`, `protocol`, `mqtt5`, and `stubs`,
  what external functions answer
- `compare`: `json`, `exact_text`, `exact_number`, `raw_bytes`, `approx:<relative error>`; `expected_text` is the exact
  text, `alternatives` are other right answers

`expected` is the outgoing JSON value, or one of `{"no_match": true}`, `{"undefined": true}`, `{"rule_error": true}`,
`{"sql_error": true}`, `{"base64_output": …}`, `{"template_output": …}`.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from stepbridge.case_form import form_fault
from stepbridge.iot.mqtt.topics import basic_ingest_rule
from stepbridge.iot.rules.sql import (
    UNDEFINED,
    VERSION_2016,
    Evaluation,
    ExternalCall,
    Failed,
    Input,
    Mqtt5Properties,
    NoMatch,
    Output,
    SqlError,
    Statement,
    Template,
    TopicTrie,
    Value,
)
from stepbridge.iot.rules.sql.printer import print_expression, print_statement
from stepbridge.iot.rules.sql.tree import Column, Select, Star
from stepbridge.iot.rules.sql.values import equal, json_text, parse_json

_DEFAULT_ACCOUNT = "123456789012"
_FORM = {
    "id": str,
    "sql": str,
    "template": str,
    "topic": str,
    "sql_version": str,
    "payload_encoding": str,
    "compare": str,
    "expected_text": str,
    "alternatives": (list, None),
    "context": (dict, None),
}
_CONTEXT = {
    "timestamp": int,
    "clientid": str,
    "accountid": str,
    "principal": str,
    "sourceip": str,
    "traceid": str,
    "protocol": str,
    "mqtt5": {
        "content_type": str,
        "format_indicator": str,
        "response_topic": str,
        "correlation_data_base64": str,
        "user_properties": [[str]],
    },
    "stubs": dict,
}


class CaseError(Exception):
    """A file of cases that cannot be read; the message says which, where and why."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a case; `observed` and `expected` are for a person to read."""

    id: str
    passed: bool
    expected: str
    observed: str


def try_statement(
    sql: str,
    topic: str,
    payload: bytes,
    *,
    version: str = VERSION_2016,
    context: Mapping[str, Any] | None = None,
) -> Output | NoMatch | Failed:
    """What a rule with this statement makes of one message.

    `context` is that of a case.  External functions answer from its `stubs`; without one they fail.  Raises SqlError
    if the statement is refused.
    """
    statement = Statement(sql, version)
    message, ingested = _input(topic, payload, context or {})
    if not ingested and not _matches(statement.topic_filter, topic):
        reason = "there is no FROM clause" if statement.topic_filter is None else f"FROM '{statement.topic_filter}'"
        return NoMatch(f"{reason} does not match the topic {topic}")
    evaluation = statement.start(message)
    stubs = _Stubs((context or {}).get("stubs", {}))
    while isinstance(outcome := statement.run(evaluation), ExternalCall):
        stubs.answer(evaluation, outcome)
    return outcome


def try_template(
    text: str,
    topic: str,
    payload: bytes,
    *,
    version: str = VERSION_2016,
    context: Mapping[str, Any] | None = None,
    sql: str = "SELECT *",
) -> str | Failed:
    """What a substitution template of an action becomes, beside the rule's `sql`.  Raises SqlError if it is refused."""
    statement = Statement(sql, version)
    template = Template(text, version, statement.variables)
    message, _ = _input(topic, payload, context or {})
    evaluation = statement.start(message)
    stubs = _Stubs((context or {}).get("stubs", {}))
    while isinstance(rendered := template.render(evaluation), ExternalCall):
        stubs.answer(evaluation, rendered)
    # `$$` before a reserved topic stands for `$` (developerguide/republish-rule-action.html).
    return rendered[1:] if isinstance(rendered, str) and text.startswith("$$") else rendered


def undefined_columns(
    sql: str,
    topic: str,
    payload: bytes,
    *,
    version: str = VERSION_2016,
    context: Mapping[str, Any] | None = None,
) -> list[str]:
    """The columns of a statement that are Undefined for a message, and so left out of its output."""
    tree = Statement(sql, version).tree
    found: list[str] = []
    for column in tree.columns:
        if isinstance(column.expression, Star):
            continue
        alone = Select(tree.assignments, (Column(column.expression),), False, tree.topic_filter, None)
        outcome = try_statement(print_statement(alone), topic, payload, version=version, context=context)
        if isinstance(outcome, Output) and outcome.value in ({}, UNDEFINED):
            found.append(print_expression(column.expression))
    return found


def load_cases(path: Path) -> list[dict[str, Any]]:
    """The cases of a file, or of every `.json` file below a folder, in order.  Raises CaseError."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise CaseError(f"{path}: there is no .json file")
    cases: list[dict[str, Any]] = []
    for file in files:
        try:
            loaded = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
        except OSError as error:
            raise CaseError(f"{file}: {error.strerror}") from error
        except ValueError as error:
            raise CaseError(f"{file} is not JSON: {error}") from error
        except RecursionError as error:
            raise CaseError(f"{file} is nested too deeply") from error
        for index, case in enumerate(loaded if isinstance(loaded, list) else [loaded]):
            problem = _problem(case)
            if problem:
                raise CaseError(f"{file}, case {index + 1}: {problem}")
            cases.append({"id": f"{file.stem}[{index + 1}]", **case})
    return cases


def run_case(case: Mapping[str, Any]) -> CaseResult:
    """Run one case."""
    case = _exact(case)
    right_answers = [case["expected"], *(case.get("alternatives") or [])]
    observed = _observe(case)
    passed = any(_fits(case, expected, observed) for expected in right_answers)
    exact = case.get("expected_text") if case.get("compare") == "exact_text" else None
    expected = exact if exact is not None else " or ".join(_describe_expected(answer) for answer in right_answers)
    return CaseResult(case["id"], passed, expected, _describe(observed))


def _exact(value: Any) -> Any:
    """A value with its floating point numbers as the Decimals they are written as."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {key: _exact(item) for key, item in value.items()}
    return [_exact(item) for item in value] if isinstance(value, list | tuple) else value


def _problem(case: Any) -> str | None:
    if not isinstance(case, dict):
        return "a case is an object"
    missing = [name for name in ("topic", "expected") if name not in case]
    if "sql" not in case and "template" not in case:
        missing.insert(0, "sql (or template)")
    if missing:
        return f"{', '.join(missing)} missing"
    context = case.get("context") or {}
    return (
        form_fault(case, _FORM, "the case")
        or form_fault(context, _CONTEXT, "context")
        or _stub_problem(context.get("stubs", {}))
        or _comparison_problem(case)
    )


def _stub_problem(stubs: dict[str, Any]) -> str | None:
    for name, stub in stubs.items():
        if not isinstance(stub, dict) or not ("result" in stub or "error" in stub):
            return f"context.stubs.{name} must be an object with a result or an error"
        if not isinstance(stub.get("args", []), list):
            return f"context.stubs.{name}.args must be a list"
    return None


def _comparison_problem(case: dict[str, Any]) -> str | None:
    pairs = (case.get("context") or {}).get("mqtt5", {}).get("user_properties", [])
    if any(len(pair) != 2 for pair in pairs):
        return "context.mqtt5.user_properties must be pairs"
    for expected in (case["expected"], *(case.get("alternatives") or [])):
        if isinstance(expected, dict) and not isinstance(expected.get("base64_output", ""), str):
            return "base64_output must be a string"
    kind, _, error = case.get("compare", "json").partition(":")
    if kind == "approx" and not re.fullmatch(r"\d+(\.\d+)?([eE][+-]?\d+)?", error):
        return f"compare is approx:<relative error>, not {case['compare']}"
    return None


_Observed = Output | NoMatch | Failed | SqlError | str


def _observe(case: Mapping[str, Any]) -> _Observed:
    version, context = case.get("sql_version", VERSION_2016), case.get("context") or {}
    try:
        payload = _payload(case)
        if "template" in case:
            return try_template(
                case["template"],
                case["topic"],
                payload,
                version=version,
                context=context,
                sql=case.get("sql", "SELECT *"),
            )
        return try_statement(case["sql"], case["topic"], payload, version=version, context=context)
    except SqlError as error:
        return error


def _payload(case: Mapping[str, Any]) -> bytes:
    payload, encoding = case.get("payload", {}), case.get("payload_encoding", "json")
    if encoding == "json":
        return json_text(payload).encode()
    try:
        return base64.b64decode(payload) if encoding == "base64" else str(payload).encode()
    except (binascii.Error, TypeError) as error:
        raise CaseError(f"case {case['id']}: the payload is not base64") from error


def _input(topic: str, payload: bytes, context: Mapping[str, Any]) -> tuple[Input, bool]:
    ingested = basic_ingest_rule(topic)
    over_mqtt = context.get("protocol", "mqtt") != "http"
    mqtt5 = context.get("mqtt5") or {}
    message = Input(
        topic=ingested[1] if ingested else topic,
        payload=payload,
        timestamp=int(context.get("timestamp", 0)),
        account=context.get("accountid", _DEFAULT_ACCOUNT),
        client_id=context.get("clientid", "client") if over_mqtt else None,
        principal=context.get("principal"),
        source_ip=context.get("sourceip"),
        trace_id=context.get("traceid", "00000000-0000-4000-8000-000000000000") if over_mqtt else None,
        properties=Mqtt5Properties(
            content_type=mqtt5.get("content_type"),
            format_indicator=mqtt5.get("format_indicator"),
            response_topic=mqtt5.get("response_topic"),
            correlation_data=mqtt5.get("correlation_data_base64"),
            user_properties=tuple((key, value) for key, value in mqtt5.get("user_properties", ())),
        ),
    )
    return message, ingested is not None


def _matches(topic_filter: str | None, topic: str) -> bool:
    if topic_filter is None:
        return False
    trie: TopicTrie[bool] = TopicTrie()
    trie.add(topic_filter, True)
    return bool(trie.find(topic))


class _Stubs:
    """What the case says that external functions answer."""

    def __init__(self, stubs: Mapping[str, Any]) -> None:
        self._stubs = stubs

    def answer(self, evaluation: Evaluation, call: ExternalCall) -> None:
        evaluation.answer(call, self._result(call, evaluation.version))

    def _result(self, call: ExternalCall, version: str) -> Value | Failed:
        stub = self._stubs.get(call.function)
        if stub is None:
            return Failed(f"{call.function} is called, and the context has no stub for it")
        expected: list[Value] = stub.get("args", [])
        received = list(call.arguments[: len(expected)])
        if "input" in stub:
            expected, received = [stub["input"]], [call.arguments[-1]]
        if not equal(expected, received):
            return Failed(f"{call.function} received {json_text(received)}, expected {json_text(expected)}")
        if "error" in stub:
            return Failed(str(stub["error"]))
        return parse_json(json_text(stub["result"]), version)


def _fits(case: Mapping[str, Any], expected: Any, observed: _Observed) -> bool:
    marker = next(iter(expected)) if isinstance(expected, dict) and len(expected) == 1 else None
    if marker in ("no_match", "rule_error", "sql_error") and expected[marker] is True:
        return isinstance(observed, {"no_match": NoMatch, "rule_error": Failed, "sql_error": SqlError}[marker])
    if marker == "template_output":
        return bool(observed == expected[marker])
    if not isinstance(observed, Output):
        return False
    if marker == "base64_output":
        return bool(observed.payload == base64.b64decode(expected[marker]))
    if marker == "undefined" and expected[marker] is True:
        return observed.payload == (
            b"" if Statement(case["sql"], case.get("sql_version", VERSION_2016)).tree.is_value else b"{}"
        )
    compare = case.get("compare", "json")
    if compare == "exact_text" and "expected_text" in case and expected is case["expected"]:
        return bool(observed.payload == case["expected_text"].encode())
    value = parse_json(observed.payload, "2015-10-08")
    if compare.startswith("approx:"):
        return _close(expected, value, float(compare.removeprefix("approx:")))
    return equal(expected, value)


def _close(expected: Any, observed: Any, relative: float) -> bool:
    if isinstance(expected, dict) and isinstance(observed, dict):
        return expected.keys() == observed.keys() and all(
            _close(value, observed[key], relative) for key, value in expected.items()
        )
    if isinstance(expected, int | Decimal) and isinstance(observed, int | Decimal):
        return abs(float(expected) - float(observed)) <= relative * max(abs(float(expected)), 1e-300)
    return equal(expected, observed)


def _describe_expected(expected: Any) -> str:
    if isinstance(expected, dict) and len(expected) == 1:
        marker, value = next(iter(expected.items()))
        words = {
            "no_match": "no match",
            "rule_error": "the rule fails",
            "sql_error": "the statement is refused",
            "undefined": "Undefined",
        }
        if value is True and marker in words:
            return words[marker]
        if marker in ("base64_output", "template_output"):
            return str(value)
    return json_text(expected)


def _describe(observed: _Observed) -> str:
    match observed:
        case str():
            return observed
        case NoMatch(reason):
            return f"no match: {reason}"
        case Failed(message):
            return f"the rule fails: {message}"
        case SqlError():
            return f"the statement is refused: {observed}"
        case Output(value, payload):
            if value is UNDEFINED:
                return f"the bytes {base64.b64encode(payload).decode()} (base64)" if payload else "Undefined: no bytes"
            return payload.decode()
