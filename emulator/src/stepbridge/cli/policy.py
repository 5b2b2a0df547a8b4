"""`stepbridge policy test` and `stepbridge policy explain`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stepbridge.cli.errors import CommandError
from stepbridge.cli.files import case_files, read_text
from stepbridge.settings import DEFAULT_ACCOUNT, DEFAULT_REGION


def check_policies(
    cases: Annotated[
        list[Path], typer.Option("--cases", metavar="PATH", help="File of cases, or a folder of them; may be repeated.")
    ],
) -> None:
    """Check AWS IoT policies against files of expectations; needs no emulator.

    A file is a JSON list of cases such as

    \b
    {"id": "publishes its answers",
     "policy": {"Version": "2012-10-17", "Statement": […]},
     "client_id": "worker-1",
     "thing": {"name": "worker-1", "attached": true, "attributes": {"site": "a"}},
     "action": "iot:Publish",
     "resource": "arn:aws:iot:us-east-1:123456789012:topic/answers/worker-1",
     "expected": "allow"}

    "expected" is "allow" or "deny"; "client_id", "thing" and "context" may be left out.  "policy" may be a list of
    policies, which apply together.  The exit status is 1 if a case is not as expected.

    A "thing" may have "type" and "exclusive", a "context" "source_ip", "domain_name", "connect_attributes" (of
    PersistentConnect and LastWill), "last_will_topic", and "certificate": {"Subject": {"CommonName": ["a"]}}.

    \b
    stepbridge policy test --cases policy-cases.json
    """
    from stepbridge.authorization.cases import CaseError, load_cases, run_case

    total, failed = 0, 0
    for file in case_files(cases):
        try:
            loaded = load_cases(read_text(file, "The cases"))
        except CaseError as error:
            raise CommandError(f"{file}: {error}.") from None
        for case in loaded:
            total += 1
            result = run_case(case)
            if result.passed:
                continue
            failed += 1
            expected, observed = ("allow", "deny") if case.expect_allowed else ("deny", "allow")
            print(
                f"FAILED  {case.name}  ({file})\n  expected  {expected}\n  observed  {observed}: {result.explanation}"
            )
            if case.note:
                print(f"  note      {case.note}")
    finish(total, failed)


def explain_policy(
    policy: Annotated[
        list[Path],
        typer.Option("--policy", metavar="FILE", help="Policy document; repeat it for all that apply.  - is stdin."),
    ],
    action: Annotated[str, typer.Option(metavar="ACTION", help="iot:Connect, iot:Publish, iot:Subscribe, …")],
    resource: Annotated[
        str, typer.Option(metavar="ARN", help="The ARN, or only its end: client/ID, topic/TOPIC, topicfilter/FILTER.")
    ],
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The MQTT client id.  Default: the thing's name, if one is given.")
    ] = None,
    thing: Annotated[
        str | None, typer.Option(metavar="NAME", help="The thing that the certificate is attached to.")
    ] = None,
    thing_type: Annotated[str | None, typer.Option(metavar="NAME", help="The type of the thing.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An attribute of the thing; may be repeated.")
    ] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="The certificate is attached to the thing exclusively.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The client's certificate, in PEM.  - is stdin.")
    ] = None,
    source_ip: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where the client connects from.")] = None,
    domain_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the endpoint that the client connects to.")
    ] = None,
    persistent: Annotated[
        bool, typer.Option("--persistent", help="For iot:Connect: CONNECT asks for a persistent session.")
    ] = False,
    last_will: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="For iot:Connect: CONNECT has a last will on this topic.")
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="REGION", help="Region of a RESOURCE that is no ARN.")
    ] = DEFAULT_REGION,
    account: Annotated[
        str, typer.Option(metavar="ACCOUNT", help="Account of a RESOURCE that is no ARN.")
    ] = DEFAULT_ACCOUNT,
) -> None:
    """Say whether AWS IoT policies allow something: by which statement, or what would allow it; needs no emulator.

    The exit status is 0 if it is allowed and 1 if it is not.

    \b
    stepbridge policy explain --policy policy.json --client-id worker-1 \\
      --action iot:Publish --resource topic/answers/worker-1
    """
    from stepbridge.authorization.cases import explain_request

    documents = [(file.stem if str(file) != "-" else "policy", read_text(file, "The policy")) for file in policy]
    for file, (name, document) in zip(policy, documents, strict=True):
        _check(file, name, document)
    if not resource.startswith("arn:") and resource != "*":
        resource = f"arn:aws:iot:{region}:{account}:{resource}"
    facts = _thing(thing, thing_type, attribute or [], exclusive=exclusive)
    context: dict[str, Any] = {"source_ip": source_ip, "domain_name": domain_name}
    if certificate is not None:
        context["certificate"] = _certificate(certificate)
    if action.lower() == "iot:connect":
        context["connect_attributes"] = ["PersistentConnect"] * persistent + ["LastWill"] * (last_will is not None)
        context["last_will_topic"] = last_will
    verdict, explanation = explain_request(
        documents, action, resource, client_id=client_id or thing, thing=facts, context=context
    )
    print(explanation)
    if not verdict.allowed:
        sys.exit(1)


def finish(total: int, failed: int) -> None:
    """Print how many cases passed, and end the process with status 1 if not all did."""
    print(f"{total - failed} of {total} cases passed.")
    if failed:
        sys.exit(1)


def _check(file: Path, name: str, document: str) -> None:
    """Raises CommandError, with the file's name, for a policy that AWS refuses."""
    from stepbridge.authorization import IOT, MalformedPolicyError, parse_policy

    try:
        parse_policy(name, document, IOT)
    except MalformedPolicyError as error:
        raise CommandError(f"AWS refuses the policy in {file}: {error}.") from None


def _certificate(file: Path) -> dict[str, Any]:
    """What policy variables know of a certificate, as in a file of cases.  Raises CommandError."""
    from stepbridge.iot.certificates import certificate_der
    from stepbridge.iot.registry.certificate_facts import parse_certificate

    try:
        facts = parse_certificate(certificate_der(read_text(file, "The certificate"))).facts
    except ValueError as error:
        raise CommandError(f"{file} is not a certificate: {error}.") from None
    return {**facts.names, "SerialNumber": facts.serial_number}


def _thing(name: str | None, type_name: str | None, attributes: list[str], *, exclusive: bool) -> dict[str, Any] | None:
    if name is None:
        if type_name is not None or attributes or exclusive:
            raise CommandError("A thing's type and attributes, and --exclusive, need its name: --thing NAME.")
        return None
    pairs = dict(attribute.partition("=")[::2] for attribute in attributes if "=" in attribute)
    if len(pairs) != len(attributes):
        raise CommandError("An attribute is written NAME=VALUE, and each NAME once.")
    return {"name": name, "attached": True, "exclusive": exclusive, "type": type_name, "attributes": pairs}
