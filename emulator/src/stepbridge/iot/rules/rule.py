"""A topic rule, compiled: its statement and its actions."""

from collections.abc import Mapping
from typing import Any

from stepbridge.iot.rules.actions import ACTIONS, Action
from stepbridge.iot.rules.sql import VERSION_2015, SqlError, Statement, Template


class RuleError(Exception):
    """A rule that cannot be created for another reason than its statement; the message says why."""


class Rule:
    """A rule by its name and its payload, as CreateTopicRule takes it."""

    def __init__(self, name: str, payload: Mapping[str, Any], created_at: float) -> None:
        """Compile.  Raises SqlError for the statement, RuleError for the actions."""
        self.name = name
        self.payload = payload
        self.created_at = created_at
        self.is_disabled: bool = payload.get("ruleDisabled", False)
        self.statement = Statement(payload["sql"], payload.get("awsIotSqlVersion", VERSION_2015))
        self.actions = [
            self._action(action, f"actions[{index}]") for index, action in enumerate(payload.get("actions", []))
        ]
        error_action = payload.get("errorAction")
        self.error_action = None if error_action is None else self._action(error_action, "errorAction")

    def _action(self, choice: Mapping[str, Any], place: str) -> Action:
        if len(choice) != 1:
            raise RuleError(f"{place}: exactly one action must be given")
        [(name, members)] = choice.items()
        action = ACTIONS.get(name)
        if action is None:
            raise RuleError(f"{place}: the action {name} is not supported by stepbridge")

        def compile_template(text: str, member: str) -> Template:
            try:
                return Template(text, self.statement.version, self.statement.variables)
            except SqlError as error:
                raise RuleError(f"{place}.{name}.{member}: {error}") from error

        return action(members, compile_template)
