"""timestream: a record per attribute of the output (developerguide/timestream-rule-action.html)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from stepbridge.iot.rules.actions.base import (
    Action,
    ActionError,
    Delivery,
    Members,
    RefusedMemberError,
    TemplateCompiler,
)
from stepbridge.iot.rules.sql.values import json_text

_UNITS = ("SECONDS", "MILLISECONDS", "MICROSECONDS", "NANOSECONDS")
_BATCH = 100
# developerguide/timestream-rule-action.html
_RESERVED = ("measure_name", "measure_value", "time")


class TimestreamAction(Action):
    """Every attribute is a measure, those that dimensions are made of too."""

    name = "timestream"
    service = "AmazonTimestreamWrite"
    failure = "Failed to write records to Timestream table"
    target_member = "tableName"
    target_label = "Table name"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._database = self.template("databaseName")
        self._dimensions = [
            (dimension["name"], compile_template(dimension["value"], f"dimensions[{index}].value"))
            for index, dimension in enumerate(members["dimensions"])
        ]
        for index, (name, _) in enumerate(self._dimensions):
            if name in _RESERVED or name.startswith(("ts_", "measure_value")) or ":" in name:
                raise RefusedMemberError(f"dimensions[{index}].name", f"Timestream does not take the name {name!r}")
        timestamp = members.get("timestamp", {})
        self._time = compile_template(timestamp["value"], "timestamp.value") if timestamp else None
        self._unit = compile_template(timestamp.get("unit", "MILLISECONDS"), "timestamp.unit")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises ActionError unless the output is an object, and for times that are not."""
        value = delivery.json_value()
        if not isinstance(value, dict):
            raise ActionError("the output of the statement is not an object, whose attributes would be the records")
        database, table = await delivery.text(self._database), await delivery.text(self.target)
        unit = await delivery.text(self._unit)
        time = str(int(delivery.clock.now() * 1000)) if self._time is None else await delivery.text(self._time)
        if unit not in _UNITS or not time.isdecimal():
            raise ActionError(f"{time!r} {unit!r} is not a time in one of {', '.join(_UNITS)}")
        dimensions = [{"Name": name, "Value": await delivery.text(text)} for name, text in self._dimensions]
        records = [_record(name, measure) for name, measure in value.items()]
        await self.authorize(delivery, "timestream:DescribeEndpoints", "*")
        await self.authorize(
            delivery,
            "timestream:WriteRecords",
            delivery.arn("timestream", f"database/{database}/table/{table}"),
        )
        for start in range(0, len(records), _BATCH):
            await delivery.services.calls.call(
                "timestream-write",
                "WriteRecords",
                DatabaseName=database,
                TableName=table,
                CommonAttributes={"Dimensions": dimensions, "Time": time, "TimeUnit": unit},
                Records=records[start : start + _BATCH],
            )
        return {"DatabaseName": database, "TableName": table}


def _record(name: str, value: Any) -> dict[str, str]:
    kind = "VARCHAR"
    if isinstance(value, bool):
        kind = "BOOLEAN"
    elif isinstance(value, int):
        kind = "BIGINT"
    elif isinstance(value, Decimal):
        kind = "DOUBLE"
    text = value if isinstance(value, str) else json_text(value)
    return {"MeasureName": name, "MeasureValue": text, "MeasureValueType": kind}
