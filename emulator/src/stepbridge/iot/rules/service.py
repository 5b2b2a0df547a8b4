"""The API of topic rules."""

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members, Service
from stepbridge.iot.rules.engine import RulesEngine
from stepbridge.iot.rules.rule import Rule, RuleError
from stepbridge.iot.rules.sql import SqlError
from stepbridge.settings import Settings
from stepbridge.store import Store

# general/latest/gr/iot-core.html#rule-quotas
MAX_RULES = 1000
_PAGE = 10_000


class TopicRuleService(Service):
    """CreateTopicRule and its kin, over the rules of an engine."""

    service_name = "iot"

    def __init__(self, settings: Settings, store: Store, engine: RulesEngine) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._clock = engine.clock

    async def create_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Raises SqlParseException, InvalidRequestException, ResourceAlreadyExistsException, LimitExceededException."""
        name = request["ruleName"]
        if name in self._engine.rules:
            raise AwsError(
                "ResourceAlreadyExistsException",
                f"Rule {name} already exists",
                members={"resourceId": name, "resourceArn": self._engine.arn(name)},
            )
        if len(self._engine.rules) >= MAX_RULES:
            raise AwsError("LimitExceededException", f"An account has at most {MAX_RULES} rules", status=410)
        self._engine.put(self._compile(name, request["topicRulePayload"], self._clock.now()))
        await self._store.committed()
        return {}

    async def replace_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Raises SqlParseException, InvalidRequestException, UnauthorizedException."""
        old = self._existing(request["ruleName"])
        self._engine.put(self._compile(old.name, request["topicRulePayload"], self._clock.now()))
        await self._store.committed()
        return {}

    async def get_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Raises UnauthorizedException when there is no such rule, as AWS does."""
        rule = self._existing(request["ruleName"])
        described = {
            "ruleName": rule.name,
            "createdAt": rule.created_at,
            "ruleDisabled": rule.is_disabled,
            "awsIotSqlVersion": rule.statement.version,
            **{key: value for key, value in rule.payload.items() if key not in ("ruleDisabled", "awsIotSqlVersion")},
        }
        return {"ruleArn": self._engine.arn(rule.name), "rule": described}

    async def list_topic_rules(self, caller: Caller, request: Members) -> Members:
        """The rules by name; `topic` selects those with this topic filter."""
        topic, disabled = request.get("topic"), request.get("ruleDisabled")
        after, size = request.get("nextToken", ""), request.get("maxResults", _PAGE)
        found = [
            rule
            for name, rule in sorted(self._engine.rules.items())
            if name > after
            and (topic is None or rule.statement.topic_filter == topic)
            and (disabled is None or rule.is_disabled == disabled)
        ]
        page: Members = {
            "rules": [
                {
                    "ruleArn": self._engine.arn(rule.name),
                    "ruleName": rule.name,
                    "createdAt": rule.created_at,
                    "ruleDisabled": rule.is_disabled,
                }
                | ({} if rule.statement.topic_filter is None else {"topicPattern": rule.statement.topic_filter})
                for rule in found[:size]
            ]
        }
        return page | ({"nextToken": found[size - 1].name} if len(found) > size else {})

    async def delete_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Deletes the rule; one that does not exist is no error."""
        self._engine.remove(request["ruleName"])
        await self._store.committed()
        return {}

    async def enable_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Raises UnauthorizedException."""
        return await self._set_disabled(request["ruleName"], False)

    async def disable_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Raises UnauthorizedException."""
        return await self._set_disabled(request["ruleName"], True)

    async def _set_disabled(self, name: str, disabled: bool) -> Members:
        rule = self._existing(name)
        self._engine.put(Rule(name, {**rule.payload, "ruleDisabled": disabled}, rule.created_at))
        await self._store.committed()
        return {}

    def _existing(self, name: str) -> Rule:
        rule = self._engine.rules.get(name)
        if rule is None:
            # AWS does not tell a rule that is not there from one that may not be seen.
            raise AwsError("UnauthorizedException", f"Access to topic rule '{name}' was denied")
        return rule

    def _compile(self, name: str, payload: Members, now: float) -> Rule:
        try:
            return Rule(name, payload, now)
        except SqlError as error:
            raise AwsError("SqlParseException", str(error)) from error
        except RuleError as error:
            raise AwsError("InvalidRequestException", str(error)) from error
