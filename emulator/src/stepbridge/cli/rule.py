"""`stepbridge rule test`."""

import base64
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stepbridge.cli.errors import CommandError, reason
from stepbridge.cli.files import case_files, read_text
from stepbridge.cli.policy import finish

_VERSION = "2016-03-23"


def check_rule(
    sql: Annotated[str | None, typer.Option(metavar="SQL", help="The statement; @FILE reads it from a file.")] = None,
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="The topic of the message.")] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The payload, mostly JSON; @FILE reads its bytes from a file.")
    ] = None,
    sql_version: Annotated[str, typer.Option(metavar="VERSION", help="awsIotSqlVersion of the rule.")] = _VERSION,
    client_id: Annotated[str | None, typer.Option(metavar="ID", help="What clientid() gives.")] = None,
    cases: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="File of cases, or a folder of them, in place of one message; repeatable."),
    ] = None,
) -> None:
    """Try a statement of a topic rule on a message, or check files of expectations; needs no emulator.

    What the actions would get is printed as it is.  If nothing would get to them the reason is printed, and the exit
    status is 1.

    \b
    stepbridge rule test --sql "SELECT temp, topic(2) AS device FROM 'a/+' WHERE temp > 50" \\
      --topic a/1 --payload '{"temp": 60}'

    A file of cases is a JSON list such as the following; "expected" may also be {"no_match": true},
    {"undefined": true}, {"rule_error": true} or {"sql_error": true}.  What functions such as aws_lambda() give comes
    from "context": {"stubs": {"aws_lambda": {"result": …}}}.

    \b
    [{"id": "hot", "sql": "SELECT temp FROM 'a/+' WHERE temp > 50",
      "topic": "a/1", "payload": {"temp": 60}, "expected": {"temp": 60}}]

    \b
    stepbridge rule test --cases rules/cases
    """
    if cases:
        if (sql, topic, payload, client_id) != (None, None, None, None):
            raise CommandError("Give either --cases or a message (--sql, --topic, --payload), not both.")
        _test_cases(cases)
        return
    if sql is None or topic is None or payload is None:
        raise CommandError("A message needs --sql, --topic and --payload; files of cases are run by --cases PATH.")
    statement = read_text(Path(sql[1:]), "The statement") if sql.startswith("@") else sql
    _test_message(statement, topic, _payload(payload), sql_version, client_id)


def _test_message(sql: str, topic: str, payload: bytes, version: str, client_id: str | None) -> None:
    from stepbridge.clock import SystemClock
    from stepbridge.iot.mqtt.session import MAXIMUM_PAYLOAD
    from stepbridge.iot.mqtt.topics import has_wildcard, limit_fault
    from stepbridge.iot.rules.cases import try_statement, undefined_columns
    from stepbridge.iot.rules.sql import Failed, NoMatch, SqlError

    if not topic or has_wildcard(topic):
        raise CommandError(f"A message has a topic without + and #, which '{topic}' is not.")
    if (fault := limit_fault(topic)) is not None:
        raise CommandError(f"The topic {topic} is not valid: {fault}.")
    if len(payload) > MAXIMUM_PAYLOAD:
        raise CommandError(f"A message has at most {MAXIMUM_PAYLOAD} bytes of payload; these are {len(payload)}.")
    context: dict[str, Any] = {"timestamp": int(SystemClock().now() * 1000)}
    if client_id is not None:
        context["clientid"] = client_id
    try:
        outcome = try_statement(sql, topic, payload, version=version, context=context)
        undefined = undefined_columns(sql, topic, payload, version=version, context=context)
    except SqlError as error:
        raise CommandError(f"The statement is refused: {error}.") from None
    if isinstance(outcome, NoMatch):
        raise CommandError(f"The rule does not match: {outcome.reason}.")
    if isinstance(outcome, Failed):
        raise CommandError(f"The rule fails: {outcome.message}.")
    for column in undefined:
        print(f"stepbridge: {column} is Undefined, and left out.", file=sys.stderr)
    try:
        print(outcome.payload.decode())
    except UnicodeDecodeError:
        print("stepbridge: the output is not text; this is its base64.", file=sys.stderr)
        print(base64.b64encode(outcome.payload).decode())


def _test_cases(paths: list[Path]) -> None:
    from stepbridge.iot.rules.cases import CaseError, load_cases, run_case

    total, failed = 0, 0
    for file in case_files(paths):
        try:
            results = [(case, run_case(case)) for case in load_cases(file)]
        except CaseError as error:
            raise CommandError(f"{error}.") from None
        for case, result in results:
            total += 1
            if not result.passed:
                failed += 1
                print(
                    f"FAILED  {result.id}  ({file})\n  {case.get('sql') or case.get('template')}\n"
                    f"  expected  {result.expected}\n  observed  {result.observed}"
                )
    if total == 0:
        raise CommandError(f"There are no cases in {', '.join(map(str, paths))}.")
    finish(total, failed)


def _payload(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode(errors="surrogateescape")  # an argument may have any bytes
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"The payload cannot be read from {text[1:]}: {reason(error)}.") from None
