"""pytest fixtures."""

from collections.abc import Iterator

import pytest

from stepbridge.testing.mosquitto import mosquitto_options
from stepbridge.testing.process import EmulatorProcess


@pytest.fixture(scope="session")
def stepbridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """One emulator for the whole test session."""
    emulator = EmulatorProcess(tmp_path_factory.mktemp("stepbridge"), "--memory")
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[tuple[str, ...]]:
    """Options of `stepbridge up` for Mosquitto as its message core, in a container if there is Docker."""
    with mosquitto_options() as options:
        yield options
