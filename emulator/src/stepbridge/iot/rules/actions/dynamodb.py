"""dynamoDB and dynamoDBv2: the output as a column, or as columns, of an item."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from stepbridge.api.errors import AwsError
from stepbridge.iot.rules.actions.base import Action, ActionError, Delivery, Members, TemplateCompiler
from stepbridge.iot.rules.sql import UNDEFINED, Template

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_OPERATIONS = {"INSERT": "PutItem", "UPDATE": "UpdateItem", "DELETE": "DeleteItem"}


def attribute_value(value: Any) -> dict[str, Any]:
    """A JSON value as DynamoDB's attribute values are written."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | Decimal):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [attribute_value(item) for item in value]}
    return {"M": {key: attribute_value(item) for key, item in value.items()}}


class DynamoDbAction(Action):
    """The whole output in one column: developerguide/dynamodb-rule-action.html."""

    name = "dynamoDB"
    service = "AmazonDynamoDBv2"
    failure = "Failed to write to DynamoDB table"
    target_member = "tableName"
    target_label = "Table"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._hash_field = self.template("hashKeyField")
        self._hash_value = self.template("hashKeyValue")
        self._range_field = self.optional_template("rangeKeyField")
        self._range_value = self.optional_template("rangeKeyValue")
        self._payload_field = self.optional_template("payloadField")
        self._operation = self.optional_template("operation")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError for an operation there is not, AwsError for a key that is not of its type."""
        table = await delivery.text(self.target)
        written = "INSERT" if self._operation is None else await delivery.text(self._operation)
        operation = _OPERATIONS.get(written.upper())
        if operation is None:
            raise ActionError(f"the operation is {written!r}, and not one of {', '.join(_OPERATIONS)}")
        key = await self._key(delivery, self._hash_field, self._hash_value, "hashKeyType")
        if self._range_field is not None and self._range_value is not None:
            key |= await self._key(delivery, self._range_field, self._range_value, "rangeKeyType")
        column = "payload" if self._payload_field is None else await delivery.text(self._payload_field)
        value = delivery.output.value
        payload = {"B": delivery.output.payload} if value is UNDEFINED else attribute_value(value)
        await self.authorize(delivery, f"dynamodb:{operation}", delivery.arn("dynamodb", f"table/{table}"))
        members: dict[str, Any] = {"Key": key}
        if operation == "PutItem":
            members = {"Item": {column: payload, **key}}
        elif operation == "UpdateItem":
            members |= {
                "UpdateExpression": "SET #payload = :payload",
                "ExpressionAttributeNames": {"#payload": column},
                "ExpressionAttributeValues": {":payload": payload},
            }
        await delivery.services.calls.call("dynamodb", operation, TableName=table, **members)
        return {"TableName": table}

    async def _key(self, delivery: Delivery, field: Template, value: Template, key_type: str) -> dict[str, Any]:
        kind = "N" if self.members.get(key_type, "STRING") == "NUMBER" else "S"
        text = await delivery.text(value)
        if kind == "N" and _NUMBER.fullmatch(text) is None:  # moto fails at this where DynamoDB says so
            message = f"The parameter cannot be converted to a numeric value: {text}"
            raise AwsError("ValidationException", message, status=400)
        return {await delivery.text(field): {kind: text}}

    def details(self) -> str:
        """The table and the keys."""
        text = f"Table: {self.target.text}, HashKeyField: {self._hash_field.text}"
        text += f", HashKeyValue: {self._hash_value.text}"
        if self._range_field is not None and self._range_value is not None:
            text += f", RangeKeyField: {self._range_field.text}, RangeKeyValue: {self._range_value.text}"
        return text


class DynamoDbV2Action(Action):
    """A column per attribute of the output: developerguide/dynamodb-v2-rule-action.html."""

    name = "dynamoDBv2"
    service = "AmazonDynamoDBv2"
    failure = "Failed to write to DynamoDB table"
    target_member = "tableName"
    target_label = "Table"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__({**members, **members["putItem"]}, compile_template)

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError unless the output is an object; DynamoDB refuses it without the table's keys."""
        value = delivery.json_value()
        if not isinstance(value, dict):
            raise ActionError("the output of the statement is not an object, whose attributes would be the columns")
        table = await delivery.text(self.target)
        await self.authorize(delivery, "dynamodb:PutItem", delivery.arn("dynamodb", f"table/{table}"))
        item = {key: attribute_value(member) for key, member in value.items()}
        await delivery.services.calls.call("dynamodb", "PutItem", TableName=table, Item=item)
        return {"TableName": table}
