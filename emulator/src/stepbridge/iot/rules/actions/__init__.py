"""Rule actions: one file per action, each a class that compiles an action's members and carries it out.

developerguide/iot-rule-actions.html
"""

from stepbridge.iot.rules.actions.base import (
    Action,
    ActionError,
    AwsCalls,
    Delivery,
    FunctionInvoker,
    Publisher,
    RuleServices,
    error_message,
)
from stepbridge.iot.rules.actions.lambda_ import LambdaAction
from stepbridge.iot.rules.actions.republish import RepublishAction

ACTIONS: dict[str, type[Action]] = {action.name: action for action in (LambdaAction, RepublishAction)}

__all__ = [
    "ACTIONS",
    "Action",
    "ActionError",
    "AwsCalls",
    "Delivery",
    "FunctionInvoker",
    "Publisher",
    "RuleServices",
    "error_message",
]
