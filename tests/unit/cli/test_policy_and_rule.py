"""`stepbridge policy test`, `policy explain`, `rule test`: the real command on the shared cases, and on bad input."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stepbridge.cli.application import main
from stepbridge.iot.certificates import CertificateAuthority

CONFORMANCE = Path(
    os.environ.get("STEPBRIDGE_CONFORMANCE", Path(__file__).parents[3].parent / "shared" / "conformance")
)
ARN = "arn:aws:iot:us-east-1:123456789012:"


@dataclass(frozen=True)
class Result:
    """What a command left."""

    status: int
    stdout: str
    stderr: str


Stepbridge = Callable[..., Result]


@pytest.fixture
def stepbridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stepbridge:
    """Runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["stepbridge", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return Result(0 if ended.value.code is None else int(ended.value.code), output.out, output.err)

    return run


def policy(action: str = "iot:Publish", resource: str = "topic/a/${iot:Connection.Thing.ThingName}") -> dict[str, Any]:
    statement = {"Sid": "mine", "Effect": "Allow", "Action": action, "Resource": ARN + resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


def case(**members: Any) -> dict[str, Any]:
    return {
        "id": "one",
        "policy": policy(),
        "client_id": "t",
        "thing": {"name": "t", "attached": True},
        "action": "iot:Publish",
        "resource": f"{ARN}topic/a/t",
        "expected": "allow",
    } | members


@pytest.mark.parametrize(("command", "folder"), [("policy", "iot-policy"), ("rule", "iot-sql")])
def test_the_shared_cases_pass_by_the_real_command(command: str, folder: str) -> None:
    path = CONFORMANCE / folder
    assert path.is_dir(), f"{path} is missing: set STEPBRIDGE_CONFORMANCE to the folder with the conformance suites"
    result = subprocess.run(
        [sys.executable, "-m", "stepbridge", command, "test", "--cases", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    count = result.stdout.split()[0]
    assert (result.stdout, result.returncode) == (f"{count} of {count} cases passed.\n", 0)
    assert int(count) > 50


def test_failed_policy_cases_are_told_with_what_was_expected_and_why(stepbridge: Stepbridge) -> None:
    cases = [case(), case(id="two", thing=None, note="as the guide says"), case(id="three", expected="deny")]
    Path("cases.json").write_text(json.dumps(cases))
    result = stepbridge("policy", "test", "--cases", "cases.json")
    assert result.status == 1
    why = (
        f"iot:Publish on {ARN}topic/a/t is not allowed: policy policy, statement 1 (mine) does not "
        "apply: ${iot:Connection.Thing.ThingName} has no value here. It would take "
        f'{{"Effect": "Allow", "Action": "iot:Publish", "Resource": "{ARN}topic/a/t"}}'
    )
    assert result.stdout.splitlines() == [
        "FAILED  two  (cases.json)",
        "  expected  allow",
        f"  observed  deny: {why}",
        "  note      as the guide says",
        "FAILED  three  (cases.json)",
        "  expected  deny",
        f"  observed  allow: iot:Publish on {ARN}topic/a/t is allowed by policy policy, statement 1 (mine)",
        "1 of 3 cases passed.",
    ]


def test_failed_rule_cases_are_told_with_expected_and_observed(stepbridge: Stepbridge) -> None:
    sql = "SELECT temp FROM 'a/+' WHERE temp > 50"
    right = {"sql": sql, "topic": "a/1", "payload": {"temp": 60}, "expected": {"temp": 60}}
    wrong = right | {"id": "cold", "payload": {"temp": 40}}
    Path("cases").mkdir()
    Path("cases/one.json").write_text(json.dumps([right, wrong]))
    Path("cases/two.json").write_text(json.dumps(right | {"expected": {"no_match": True}, "payload": {}}))
    result = stepbridge("rule", "test", "--cases", "cases")
    assert result.status == 1
    assert result.stdout.splitlines() == [
        "FAILED  cold  (cases/one.json)",
        f"  {sql}",
        '  expected  {"temp":60}',
        "  observed  no match: WHERE temp > 50 is false",
        "2 of 3 cases passed.",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (
            ["--client-id", "t", "--thing", "t"],
            0,
            f"iot:Publish on {ARN}topic/a/t is allowed by policy mine, statement 1",
        ),
        (["--thing", "t"], 0, "is allowed by"),
        (["--client-id", "other", "--thing", "t"], 1, "${iot:Connection.Thing.ThingName} has no value here"),
        (["--client-id", "other", "--thing", "t", "--exclusive"], 0, "is allowed by"),
        ([], 1, "${iot:Connection.Thing.ThingName} has no value here"),
    ],
)
def test_explain(stepbridge: Stepbridge, arguments: list[str], status: int, says: str) -> None:
    Path("mine.json").write_text(json.dumps(policy()))
    question = ["--policy", "mine.json", "--action", "iot:Publish", "--resource", "topic/a/t"]
    result = stepbridge("policy", "explain", *question, *arguments)
    assert (result.status, result.stderr) == (status, "")
    assert says in result.stdout


def test_explain_with_conditions_and_several_policies(stepbridge: Stepbridge) -> None:
    connect = policy("iot:Connect", "client/${iot:Connection.Thing.Attributes[site]}")
    connect["Statement"][0]["Condition"] = {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}
    Path("connect.json").write_text(json.dumps(connect))
    Path("other.json").write_text(json.dumps(policy()))
    question = ["--policy", "other.json", "--policy", "connect.json", "--action", "iot:Connect"]
    question += ["--resource", "client/x", "--thing", "x", "--attribute", "site=x", "--last-will", "w"]
    assert stepbridge("policy", "explain", *question).status == 0
    result = stepbridge("policy", "explain", *question, "--persistent")
    assert result.status == 1
    assert "iot:ConnectAttributes [LastWill] is not fulfilled (PersistentConnect, LastWill)" in result.stdout


def test_explain_with_a_certificate(stepbridge: Stepbridge) -> None:
    Path("mine.json").write_text(json.dumps(policy("iot:Publish", "topic/${iot:Certificate.Subject.CommonName}")))
    question = ["policy", "explain", "--policy", "mine.json", "--action", "iot:Publish", "--resource"]
    Path("device.pem").write_text(CertificateAuthority(Path("ca")).root.issue_keys().certificate)
    assert stepbridge(*question, "topic/AWS IoT Certificate", "--certificate", "device.pem").status == 0
    assert "CommonName} has no value here" in stepbridge(*question, "topic/x").stdout
    result = stepbridge(*question, "topic/x", "--certificate", "mine.json")
    assert result.status == 1
    assert "mine.json is not a certificate: there is no PEM certificate in it." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "output", "told"),
    [
        (
            ["--sql", "SELECT temp, topic(2) AS device, no FROM 'a/+' WHERE temp > 50", "--payload", '{"temp": 60}'],
            '{"temp":60,"device":"1"}\n',
            "stepbridge: no is Undefined, and left out.\n",
        ),
        (["--sql", "SELECT clientid() AS c FROM '#'", "--payload", "{}", "--client-id", "me"], '{"c":"me"}\n', ""),
        (["--sql", "@sql.txt", "--payload", "@payload.bin"], "AP8=\n", "stepbridge: the output is not text"),
        (["--sql", "SELECT VALUE no FROM 'a/1'", "--payload", "{}"], "\n", "stepbridge: no is Undefined"),
    ],
)
def test_a_message_through_a_statement(stepbridge: Stepbridge, arguments: list[str], output: str, told: str) -> None:
    Path("sql.txt").write_text("SELECT * FROM 'a/1'")
    Path("payload.bin").write_bytes(b"\0\xff")
    result = stepbridge("rule", "test", "--topic", "a/1", *arguments)
    assert (result.status, result.stdout) == (0, output)
    assert result.stderr.startswith(told)


MESSAGE = ["--topic", "a/1", "--payload", "{}"]
EXPLAIN = ["policy", "explain", "--policy", "policy.json", "--action", "a", "--resource", "r"]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (
            ["policy", "test", "--cases", "no.json"],
            1,
            "The cases cannot be read from no.json: No such file or directory.",
        ),
        (["policy", "test", "--cases", "empty"], 1, "There is no .json file in the folder empty."),
        (["policy", "test", "--cases", "bad.json"], 1, "bad.json: not JSON: Expecting value at line 2, column 3."),
        (
            ["policy", "test", "--cases", "latin.json"],
            1,
            "The cases cannot be read from latin.json: it is not text in UTF-8.",
        ),
        (["policy", "test", "--cases", "deep.json"], 1, "deep.json: nested too deeply."),
        (["policy", "test", "--cases", "object.json"], 1, "object.json: the file must hold a JSON list of cases."),
        (
            ["policy", "test", "--cases", "incomplete.json"],
            1,
            "incomplete.json: case 1 has no policy, action, resource",
        ),
        (["policy", "test", "--cases", "thing.json"], 1, "thing.json: one.thing must be an object or null."),
        (["policy", "test", "--cases", "malformed.json"], 1, "malformed.json: one: the policy is malformed:"),
        (["policy", "explain", "--policy", "no.json", "--action", "a", "--resource", "r"], 1, "The policy cannot be"),
        (
            ["policy", "explain", "--policy", "object.json", "--action", "a", "--resource", "r"],
            1,
            "AWS refuses the policy in object.json:",
        ),
        (
            [*EXPLAIN, "--attribute", "a=b"],
            1,
            "A thing's type and attributes, and --exclusive, need its name: --thing NAME.",
        ),
        (
            [*EXPLAIN, "--thing", "t", "--attribute", "a"],
            1,
            "An attribute is written NAME=VALUE, and each NAME once.",
        ),
        (["rule", "test", "--cases", "no.json"], 1, "no.json: No such file or directory."),
        (["rule", "test", "--cases", "empty.json"], 1, "There are no cases in empty.json."),
        (
            ["rule", "test", "--sql", "SELECT 1", "--topic", "a", "--payload", "@large.bin"],
            1,
            "A message has at most 131072 bytes of payload; these are 131073.",
        ),
        (["rule", "test", "--cases", "bad.json"], 1, "bad.json is not JSON: Expecting value: line 2 column 3"),
        (["rule", "test", "--cases", "deep.json"], 1, "deep.json is nested too deeply."),
        (["rule", "test", "--cases", "object.json"], 1, "object.json, case 1: sql (or template), topic, expected"),
        (["rule", "test", "--cases", "context.json"], 1, "context.json, case 1: context.timestamp must be a whole num"),
        (["rule", "test", "--cases", "a", "--sql", "b"], 1, "Give either --cases or a message"),
        (["rule", "test", "--sql", "b"], 1, "A message needs --sql, --topic and --payload"),
        (
            ["rule", "test", "--sql", "SELECT *\nFROM a", *MESSAGE],
            1,
            "The statement is refused: expected",
        ),
        (
            ["rule", "test", "--sql", "SELECT nofunction(1) FROM 'a'", *MESSAGE],
            1,
            "The statement is refused:",
        ),
        (["rule", "test", "--sql", "SELECT * FROM 'b'", *MESSAGE], 1, "The rule does not match: FROM 'b' does not"),
        (
            ["rule", "test", "--sql", "SELECT * FROM 'a/1' WHERE x = 1", *MESSAGE],
            1,
            "The rule does not match: WHERE x = 1 is Undefined (not in the payload: x).",
        ),
        (
            ["rule", "test", "--sql", "SELECT aws_lambda('f', *) AS f FROM 'a/1'", *MESSAGE],
            1,
            "The rule fails: aws_lambda is called",
        ),
        (["rule", "test", "--sql", "SELECT * FROM 'a'", "--topic", "a/+", "--payload", ""], 1, "A message has a topic"),
        (
            ["rule", "test", "--sql", "SELECT * FROM 'a'", "--topic", "a", "--payload", "@no"],
            1,
            "The payload cannot be",
        ),
        (["rule", "test", "--sql", "@no", *MESSAGE], 1, "The statement cannot be read from no: No such file"),
        (
            ["rule", "test", "--sql-version", "1", "--sql", "SELECT * FROM 'a'", *MESSAGE],
            1,
            "The statement is refused",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    stepbridge: Stepbridge, arguments: list[str], status: int, sentence: str
) -> None:
    Path("empty").mkdir()
    for name, text in {
        "bad.json": "[\n  ?]",
        "empty.json": "[]",
        "large.bin": "x" * 131_073,
        "deep.json": "[" * 100_000,
        "object.json": "{}",
        "incomplete.json": "[{}]",
        "thing.json": json.dumps([case(thing="t")]),
        "malformed.json": json.dumps([case(policy={"Version": "1"})]),
        "policy.json": json.dumps(policy()),
        "context.json": json.dumps({"sql": "s", "topic": "t", "expected": 1, "context": {"timestamp": "now"}}),
    }.items():
        Path(name).write_text(text)
    Path("latin.json").write_bytes(b'["\xff"]')
    result = stepbridge(*arguments)
    assert result.stdout == ""
    assert result.stderr.startswith(f"stepbridge: {sentence}")
    assert result.stderr.count("\n") == 1
    assert result.status == status


@pytest.mark.parametrize(
    "arguments",
    [["policy", "test", "--nonsense"], ["policy", "test"], ["policy", "explain"], ["rule", "test", "--nonsense"]],
)
def test_mistakes_in_the_command_itself(stepbridge: Stepbridge, arguments: list[str]) -> None:
    result = stepbridge(*arguments)
    assert result.status == 2
    assert "Usage: stepbridge" in result.stderr
    assert "Traceback" not in result.stderr


def test_places_in_statements(stepbridge: Stepbridge) -> None:
    result = stepbridge("rule", "test", "--sql", "SELECT a,\n  FROM 'a/1'", *MESSAGE)
    assert "(line 2, column 3)" in result.stderr
