"""One project for all tests."""

from collections.abc import Iterator

import pytest
from tests.docker.harness import Compose, project


@pytest.fixture(scope="session")
def compose() -> Iterator[Compose]:
    """docker-compose.yml, up."""
    with project() as running:
        yield running
