"""The emulator in tests: a process to start and drive, and pytest fixtures on top of it.

Add `pytest_plugins = ["stepbridge.testing.plugin"]` to the topmost `conftest.py`; the fixtures are in
:mod:`stepbridge.testing.plugin`, and what they give is a :class:`Target`.
"""

from stepbridge.testing.process import EmulatorProcess
from stepbridge.testing.target import Device, Execution, Target

__all__ = ["Device", "EmulatorProcess", "Execution", "Target"]
