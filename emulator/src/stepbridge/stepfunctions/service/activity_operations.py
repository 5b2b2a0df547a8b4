"""Activities: create, look, delete, and take a task."""

import json

from stepbridge.api.errors import AwsError
from stepbridge.api.service import Caller, Members
from stepbridge.stepfunctions.interpreter.messages import ActivityStarted
from stepbridge.stepfunctions.service import arns
from stepbridge.stepfunctions.service.core import OWNED_KEY, Core, check_encryption
from stepbridge.trace import abbreviate


class ActivityOperations(Core):
    """The operations on activities."""

    async def create_activity(self, caller: Caller, request: Members) -> Members:
        name = request["name"]
        arns.check_name(name)
        arn = f"arn:aws:states:{self._settings.region}:{self._settings.account}:activity:{name}"
        encryption = json.dumps(check_encryption(request.get("encryptionConfiguration", OWNED_KEY)), sort_keys=True)
        existing = self._activities.find(arn)
        if existing is None:
            now = self._clock.now()
            self._activities.add(arn, name, encryption, now)
            self._tags.add(arn, request.get("tags", []))
            await self._store.committed()
            return {"activityArn": arn, "creationDate": now}
        if existing["encryption"] != encryption:
            raise AwsError("ActivityAlreadyExists", f"Activity Already Exists: '{arn}'")
        return {"activityArn": arn, "creationDate": existing["created"]}

    async def describe_activity(self, caller: Caller, request: Members) -> Members:
        arn = arns.parse(request["activityArn"], "activity").text
        row = self._activities.find(arn)
        if row is None:
            raise AwsError("ActivityDoesNotExist", f"Activity Does Not Exist: '{arn}'")
        return {
            "activityArn": arn,
            "name": row["name"],
            "creationDate": row["created"],
            "encryptionConfiguration": json.loads(row["encryption"]),
        }

    async def list_activities(self, caller: Caller, request: Members) -> Members:
        size, start = self._page_size(request), self._page_start("ListActivities", request)
        rows = self._store.query(
            "SELECT arn, name, created FROM activities WHERE name > ? ORDER BY name LIMIT ?",
            (start[0] if start else "", size + 1),
        )
        return {
            "activities": [
                {"activityArn": row["arn"], "name": row["name"], "creationDate": row["created"]} for row in rows[:size]
            ],
            "nextToken": self._page_end("ListActivities", rows, size, "name"),
        }

    async def delete_activity(self, caller: Caller, request: Members) -> Members:
        self._activities.delete(arns.parse(request["activityArn"], "activity").text)
        await self._store.committed()
        return {}

    async def get_activity_task(self, caller: Caller, request: Members) -> Members:
        arn, worker = arns.parse(request["activityArn"], "activity").text, request.get("workerName")
        row = await self._activities.next_task(arn)
        if row is None:
            return {}
        execution, task = row["execution"], row["task"]
        token = self._sealer.task_token(execution, task)
        self._runner.begin_activity(execution, ActivityStarted(task, worker))
        text = f"a worker{f' named {worker}' if worker else ''} took a task of {arn}"
        self._trace.emit("stepfunctions", "activity-taken", text, activity=arn, token=abbreviate(token))
        await self._store.committed()
        return {"taskToken": token, "input": row["call"]}
