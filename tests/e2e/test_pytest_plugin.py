"""`stepbridge.testing.plugin` as its users meet it: one test, run against each target that there is."""

from pathlib import Path

import pytest
from tests.e2e.harness import ROOT, Deployment

from stepbridge.testing import EmulatorProcess, Target

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest

pytest_plugins = ["stepbridge.testing.plugin"]


@pytest.fixture(scope="session")
def stack(stepbridge):
    return stepbridge.deploy("{template}", "loop")


@pytest.fixture
def worker(stepbridge, stack, tmp_path):
    device = stepbridge.create_device(stack["ThingName"], tmp_path, stack["WorkerPolicyName"])
    with device.worker() as log:
        yield log
"""

TESTS = """
def test_sum(stepbridge, stack, worker):
    execution = stepbridge.run(stack["StateMachineArn"], {"a": 15, "b": 42})
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    assert execution.output == {"a": 15, "b": 42, "lambdaOutput": {"result": 57}}
    assert "Answered the job" in worker.read_text()


def test_no_sum(stepbridge, stack, worker):
    execution = stepbridge.run(stack["StateMachineArn"], {"a": 15})
    assert (execution.status, execution.output, execution.error) == ("FAILED", None, "InvalidJobError")
    assert execution.cause == "The job's input has no 'b'."
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's folder with those tests."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest(CONFTEST.format(template=ROOT / "aws-resources"))
    pytester.makepyfile(TESTS)
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=120)


def certificates(target: Target) -> set[str]:
    return {each["certificateId"] for each in target.client("iot").list_certificates(pageSize=250)["certificates"]}


@pytest.fixture
def as_aws(project: pytest.Pytester, stepbridge: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator in the place of an AWS account: where boto3 looks, with a root certificate that it trusts."""
    del project  # which has cleared the environment before
    for name, value in stepbridge.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CA_BUNDLE", stepbridge.endpoints["root_ca"])


def test_with_an_emulator_of_its_own(project: pytest.Pytester) -> None:
    run(project).assert_outcomes(passed=2)


def test_with_one_that_runs_of_which_nothing_is_left_but_the_stack(
    project: pytest.Pytester, stepbridge: EmulatorProcess, deployment: Deployment
) -> None:
    before = certificates(stepbridge)
    run(project, f"--stepbridge-endpoint={stepbridge.endpoints['http']}").assert_outcomes(passed=2)
    assert certificates(stepbridge) == before
    stacks = stepbridge.client("cloudformation").describe_stacks(StackName="loop")["Stacks"]
    assert {each["OutputKey"]: each["OutputValue"] for each in stacks[0]["Outputs"]} == deployment.outputs


@pytest.mark.usefixtures("as_aws", "deployment")
def test_with_an_aws_account(project: pytest.Pytester, stepbridge: EmulatorProcess) -> None:
    before = certificates(stepbridge)
    run(project, "--stepbridge-aws").assert_outcomes(passed=2)
    assert certificates(stepbridge) == before


@pytest.mark.usefixtures("as_aws")
def test_a_stack_that_the_account_does_not_have_is_named(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST.format(template="aws-resources").replace('"loop"', '"no-such-stack"'))
    result = run(project, "--stepbridge-aws")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*There is no stack no-such-stack to test (*): deploy it with 'sam deploy *"])


FAILS = """
def test_fails(stepbridge, stack, worker):
    execution = stepbridge.run(stack["StateMachineArn"], {"a": 15})
    assert execution.status == "SUCCEEDED"
"""


def test_a_test_that_fails_shows_the_hops_and_the_worker(
    project: pytest.Pytester, stepbridge: EmulatorProcess, deployment: Deployment
) -> None:
    del deployment
    project.makepyfile(FAILS)
    result = run(project, f"--stepbridge-endpoint={stepbridge.endpoints['http']}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*assert 'FAILED' == 'SUCCEEDED'*",
            "*iot * tenant1/to/worker → mqtt-container-client, * bytes",
            "*stepfunctions * was told of failure with token *",
        ]
    )
    result.stdout.fnmatch_lines(["*INFO Answered the job *"])


@pytest.mark.usefixtures("as_aws", "deployment")
def test_on_aws_it_shows_the_history_without_its_secrets(project: pytest.Pytester) -> None:
    project.makepyfile(FAILS)
    result = run(project, "--stepbridge-aws")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TaskFailed  InvalidJobError  The job's input has no 'b'.", "*ExecutionFailed*"])
    result.stdout.no_fnmatch_line("*TaskToken*")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--stepbridge-endpoint=http://127.0.0.1:1", "--stepbridge-aws"], "the tests run against one of them."),
        (["--stepbridge-endpoint=http://127.0.0.1:1"], "No emulator answers at http://127.0.0.1:1 ("),
    ],
)
def test_options_that_lead_nowhere_are_refused(project: pytest.Pytester, options: list[str], sentence: str) -> None:
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in "\n".join(result.outlines + result.errlines)


def test_a_worker_that_does_not_start_is_told_with_its_last_words(
    stepbridge: EmulatorProcess, deployment: Deployment, tmp_path: Path
) -> None:
    device = stepbridge.create_device(deployment.outputs["ThingName"], tmp_path, deployment.outputs["WorkerPolicyName"])
    with (
        pytest.raises(Exception, match=r"The worker ended with 1: .*nowhere"),
        device.worker(["python3", "-c", "raise SystemExit('nowhere to go')"]),
    ):
        pass


def test_an_execution_that_does_not_end_is_told(stepbridge: EmulatorProcess, deployment: Deployment) -> None:
    with pytest.raises(Exception, match="has not ended after 0 seconds"):
        stepbridge.run(deployment.state_machine, {"a": 1, "b": 2}, timeout=0.1)
