"""s3: the output as an object (developerguide/s3-rule-action.html)."""

from collections.abc import Mapping

from stepbridge.iot.rules.actions.base import Action, Delivery, Members, TemplateCompiler


class S3Action(Action):
    """Raw bytes pass as they are."""

    name = "s3"
    service = "Amazon S3"
    failure = "Failed to put S3 object"
    target_member = "bucketName"
    target_label = "Bucket"

    def __init__(self, members: Members, compile_template: TemplateCompiler) -> None:
        super().__init__(members, compile_template)
        self._key = self.template("key")

    async def run(self, delivery: Delivery) -> Mapping[str, str]:
        """Raises AwsError, NoSuchBucket and others."""
        bucket, key = await delivery.text(self.target), await delivery.text(self._key)
        await self.authorize(delivery, "s3:PutObject", f"arn:aws:s3:::{bucket}/{key}")
        acl = {"ACL": self.members["cannedAcl"]} if "cannedAcl" in self.members else {}
        await delivery.services.calls.call(
            "s3", "PutObject", Bucket=bucket, Key=key, Body=delivery.output.payload, **acl
        )
        return {"Bucket": bucket, "Key": key}

    def details(self) -> str:
        """Bucket and key."""
        return f'Bucket: {self.target.text}, Key: "{self._key.text}"'
