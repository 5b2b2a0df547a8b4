"""Answers to the functions of IoT SQL that ask other services."""

from stepbridge.clock import Clock
from stepbridge.iot.rules.actions import RuleServices
from stepbridge.iot.rules.sql import ExternalCall, Failed, Value
from stepbridge.settings import Settings


class ExternalFunctions:
    """Carries out external calls of statements and templates."""

    def __init__(self, settings: Settings, clock: Clock, services: RuleServices) -> None:
        self._settings = settings
        self._clock = clock
        self._services = services

    async def answer(self, call: ExternalCall, rule_arn: str, version: str) -> Value | Failed:
        """What `call` gives, in the values of a SQL version; Failed with the reason if it does not."""
        return Failed(f"{call.function} is not available")
