"""Fixtures for all tests."""

pytest_plugins = ["stepbridge.testing.plugin"]
