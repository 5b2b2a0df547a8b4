"""The API of topic rules."""

import json
from urllib.parse import parse_qsl

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members, Service
from stepbridge.iot.registry.tags import set_tags
from stepbridge.iot.rules.engine import RulesEngine
from stepbridge.iot.rules.rule import Rule, RuleError
from stepbridge.iot.rules.sql import SqlError
from stepbridge.settings import Settings
from stepbridge.store import Store

# general/latest/gr/iot-core.html#rule-quotas
MAX_RULES = 1000
MAX_RULE_SIZE = 256 * 1024
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
        """Raises SqlParseException, InvalidRequestException, ResourceAlreadyExistsException."""
        name = request["ruleName"]
        if name in self._engine.rules:
            raise AwsError(
                "ResourceAlreadyExistsException",
                f"Rule {name} already exists",
                members={"resourceId": name, "resourceArn": self._engine.arn(name)},
            )
        if len(self._engine.rules) >= MAX_RULES:
            raise AwsError("InvalidRequestException", f"An account has at most {MAX_RULES} rules")
        await self._put(name, request["topicRulePayload"])
        if request.get("tags"):
            set_tags(self._store, self._engine.arn(name), _parsed_tags(request["tags"]))
        await self._store.committed()
        return {}

    async def replace_topic_rule(self, caller: Caller, request: Members) -> Members:
        """Raises SqlParseException, InvalidRequestException, UnauthorizedException."""
        old = self._existing(request["ruleName"])
        await self._put(old.name, request["topicRulePayload"])
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
        set_tags(self._store, self._engine.arn(request["ruleName"]), None)
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

    async def _put(self, name: str, payload: Members) -> None:
        if len(json.dumps(payload, ensure_ascii=False).encode(errors="replace")) > MAX_RULE_SIZE:
            raise AwsError("InvalidRequestException", f"A rule has at most {MAX_RULE_SIZE} bytes")
        try:
            rule = Rule(name, payload, self._clock.now())
        except SqlError as error:
            raise AwsError("SqlParseException", str(error)) from error
        except RuleError as error:
            raise AwsError("InvalidRequestException", str(error)) from error
        for role in rule.roles:  # of a disabled rule too
            await self._engine.roles.require_trust(role, self._engine.arn(name))
        for url in rule.confirmation_urls:
            self._engine.destinations.ensure(url)
        self._engine.put(rule)

    def _existing(self, name: str) -> Rule:
        rule = self._engine.rules.get(name)
        if rule is None:
            # AWS does not tell a rule that is not there from one that may not be seen.
            raise AwsError("UnauthorizedException", f"Access to topic rule '{name}' was denied")
        return rule

    # Logs

    async def set_v2_logging_options(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException for a role that AWS IoT cannot assume."""
        logs = self._engine.logs
        role = request.get("roleArn", logs.role_arn)
        if role is not None:
            await self._engine.roles.require_trust(role, self._engine.arn("*"))
        level = "DISABLED" if request.get("disableAllLogs") else request.get("defaultLogLevel", "INFO")
        logs.configure(role, level)
        await self._store.committed()
        return {}

    async def get_v2_logging_options(self, caller: Caller, request: Members) -> Members:
        """Raises NotConfiguredException before they have been set."""
        logs = self._engine.logs
        if logs.role_arn is None:
            raise AwsError("NotConfiguredException", "Logging has not been configured")
        return {"roleArn": logs.role_arn, "defaultLogLevel": logs.level, "disableAllLogs": logs.level == "DISABLED"}

    # Destinations

    async def create_topic_rule_destination(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException, ResourceAlreadyExistsException."""
        configuration = request["destinationConfiguration"]
        if set(configuration) != {"httpUrlConfiguration"}:
            kinds = ", ".join(configuration) or "none"
            raise AwsError("InvalidRequestException", f"stepbridge supports httpUrlConfiguration only, not {kinds}")
        created = self._engine.destinations.create(configuration["httpUrlConfiguration"]["confirmationUrl"])
        await self._store.committed()
        return {"topicRuleDestination": created}

    async def confirm_topic_rule_destination(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException.

        Whoever opens the link in the message enables the destination; after a call of this operation, which is
        signed, it is DISABLED and still to be enabled (developerguide/rule-destination.html).
        """
        self._engine.destinations.confirm(request["confirmationToken"], enable=caller.access_key is None)
        await self._store.committed()
        return {}

    async def update_topic_rule_destination(self, caller: Caller, request: Members) -> Members:
        """Raises InvalidRequestException, UnauthorizedException."""
        self._engine.destinations.update(request["arn"], request["status"])
        await self._store.committed()
        return {}

    async def get_topic_rule_destination(self, caller: Caller, request: Members) -> Members:
        """Raises UnauthorizedException."""
        return {"topicRuleDestination": self._engine.destinations.describe(request["arn"])}

    async def list_topic_rule_destinations(self, caller: Caller, request: Members) -> Members:
        """The destinations by ARN."""
        after, size = request.get("nextToken", ""), request.get("maxResults", _PAGE)
        found = [one for one in self._engine.destinations.all() if one["arn"] > after]
        page: Members = {
            "destinationSummaries": [
                {
                    **{key: value for key, value in one.items() if key != "httpUrlProperties"},
                    "httpUrlSummary": one["httpUrlProperties"],
                }
                for one in found[:size]
            ]
        }
        return page | ({"nextToken": found[size - 1]["arn"]} if len(found) > size else {})

    async def delete_topic_rule_destination(self, caller: Caller, request: Members) -> Members:
        """Deletes the destination; one that does not exist is no error."""
        self._engine.destinations.delete(request["arn"])
        await self._store.committed()
        return {}


def _parsed_tags(header: str) -> list[dict[str, str]]:
    """The tags of CreateTopicRule, which come as a query string."""
    return [{"Key": key, "Value": value} for key, value in parse_qsl(header, keep_blank_values=True)]
