"""pytest fixtures."""

from collections.abc import Iterator

import pytest

from stepbridge.testing.process import EmulatorProcess


@pytest.fixture(scope="session")
def stepbridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """One emulator for the whole test session."""
    emulator = EmulatorProcess(tmp_path_factory.mktemp("stepbridge"), "--memory")
    emulator.start()
    yield emulator
    emulator.stop()
