"""Fixtures for all tests."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["stepbridge.testing.plugin"]

# A machine that is busy with other things is no finding.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
