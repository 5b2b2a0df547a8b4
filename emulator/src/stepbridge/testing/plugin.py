"""pytest fixtures, and the options that say what the tests run against."""

from collections.abc import Iterator

import pytest

from stepbridge.cli.connection import find_emulator
from stepbridge.cli.errors import CommandError
from stepbridge.testing.mosquitto import mosquitto_options
from stepbridge.testing.process import EmulatorProcess
from stepbridge.testing.target import AwsAccount, RunningEmulator, Target


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("stepbridge", "stepbridge: what the tests run against (an emulator of their own)")
    group.addoption("--stepbridge-endpoint", metavar="URL", help="the emulator that runs there, as 'up' prints it")
    group.addoption("--stepbridge-aws", action="store_true", help="the AWS account that boto3 finds, with its stacks")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that contradict each other."""
    if config.getoption("--stepbridge-endpoint") and config.getoption("--stepbridge-aws"):
        raise pytest.UsageError("--stepbridge-endpoint and --stepbridge-aws: the tests run against one of them.")


@pytest.fixture(scope="session")
def stepbridge(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """What the tests run against, for the whole session: an emulator on free ports, or what the options say."""
    target = _target(pytestconfig, tmp_path_factory)
    yield target
    target.close()


def _target(config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Target:
    if config.getoption("--stepbridge-aws"):
        return AwsAccount()
    endpoint: str | None = config.getoption("--stepbridge-endpoint")
    if endpoint is not None:
        try:
            return RunningEmulator(find_emulator(endpoint, None))
        except CommandError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    emulator = EmulatorProcess(tmp_path_factory.mktemp("stepbridge"), "--memory")
    emulator.start()
    return emulator


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[tuple[str, ...]]:
    """Options of `stepbridge up` for Mosquitto as its message core, in a container if there is Docker."""
    with mosquitto_options() as options:
        yield options
