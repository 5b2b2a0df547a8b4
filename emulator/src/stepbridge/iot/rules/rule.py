"""A topic rule, compiled: its statement and its actions."""

from collections.abc import Mapping
from typing import Any

from stepbridge.iot.rules.actions import ACTIONS, Action, HttpAction, RefusedMemberError
from stepbridge.iot.rules.sql import VERSION_2015, SqlError, Statement, Template
from stepbridge.iot.rules.sql.functions.outside import EXTERNAL
from stepbridge.iot.rules.sql.tree import Call, Expression, Literal, walk


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
        # The roles that AWS IoT must be able to assume, and where they stand.
        self.roles: dict[str, str] = {}
        self._expressions: list[Expression] = []
        self.actions = [
            self._action(action, f"actions[{index}]") for index, action in enumerate(payload.get("actions", []))
        ]
        error_action = payload.get("errorAction")
        self.error_action = None if error_action is None else self._action(error_action, "errorAction")
        if isinstance(self.error_action, HttpAction) and self.error_action.batches is not None:
            raise RuleError("errorAction.http.enableBatching: an error action cannot be batched")
        self._roles_of_functions()

    @property
    def confirmation_urls(self) -> list[str]:
        """The endpoints of http actions, which need a destination."""
        actions = [*self.actions, *([self.error_action] if self.error_action else [])]
        return [url for action in actions if isinstance(action, HttpAction) and (url := action.confirmation_url)]

    def _action(self, choice: Mapping[str, Any], place: str) -> Action:
        if len(choice) != 1:
            raise RuleError(f"{place}: exactly one action must be given")
        [(name, members)] = choice.items()
        action = ACTIONS.get(name)
        if action is None:
            raise RuleError(f"{place}: the action {name} is not supported by stepbridge")

        def compile_template(text: str, member: str) -> Template:
            try:
                template = Template(text, self.statement.version, self.statement.variables, f"{place}.{name}.{member}")
            except SqlError as error:
                raise RuleError(f"{place}.{name}.{member}: {error}") from error
            self._expressions += template.expressions
            return template

        try:
            compiled = action(members, compile_template)
        except RefusedMemberError as error:
            raise RuleError(f"{place}.{name}.{error.member}: {error}") from error
        if compiled.role_arn is not None:
            self.roles[compiled.role_arn] = place
        return compiled

    def _roles_of_functions(self) -> None:
        """Add the roles that external functions are called with: their last argument."""
        for node in walk((self.statement.tree, *self._expressions)):
            if isinstance(node, Call) and node.name in EXTERNAL and node.name != "aws_lambda" and node.arguments:
                role = node.arguments[-1]
                if isinstance(role, Literal) and isinstance(role.value, str):
                    self.roles[role.value] = node.name
