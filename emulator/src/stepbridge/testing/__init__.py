"""The emulator in tests: a process to start and drive, and pytest fixtures on top of it.

Add `pytest_plugins = ["stepbridge.testing.plugin"]` to a `conftest.py`; the fixtures are in
:mod:`stepbridge.testing.plugin`.
"""

from stepbridge.testing.process import EmulatorProcess

__all__ = ["EmulatorProcess"]
