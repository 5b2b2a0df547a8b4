"""What a distributed Map reads its items from and writes its results to: Amazon S3.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from stepbridge.api.errors import AwsError
from stepbridge.api.models import operation_model
from stepbridge.stepfunctions.interpreter.map_runs import (
    ITEM_READER_FAILED,
    Item,
    csv_rows,
    decompressed,
    read_items,
)
from stepbridge.stepfunctions.interpreter.messages import Json
from stepbridge.stepfunctions.language.evaluation import EvaluationError
from stepbridge.stepfunctions.service.integrations.aws_calls import AwsCalls
from stepbridge.stepfunctions.service.integrations.call import Authorize, TaskError
from stepbridge.stepfunctions.service.integrations.sdk_metadata import to_json

RESULT_WRITER_FAILED = "States.ResultWriterFailed"


class MapStorage:
    """Reads and writes objects of S3 for a map run, in the role that `authorize` knows."""

    def __init__(self, calls: AwsCalls, authorize: Authorize) -> None:
        self._calls = calls
        self._authorize = authorize

    async def read(self, reader: dict[str, Json]) -> list[Item]:
        """The items that an evaluated ItemReader reads.  Raises TaskError States.ItemReaderFailed."""
        config, parameters = reader["ReaderConfig"], reader["Parameters"]
        try:
            if reader["Resource"].endswith(":s3:listObjectsV2"):
                if config.get("Transformation", "NONE") == "NONE":
                    return Item.all(await self._list(parameters, config.get("MaxItems")), parameters["Bucket"])
                found = await self._list(parameters, None)
                return await self._read_all(((parameters["Bucket"], it["Key"]) for it in found if it["Size"]), config)
            content = await self._get(**parameters)
            if config.get("ManifestType") == "ATHENA_DATA":
                return await self._read_all(map(_bucket_and_key, decompressed(content).decode().split()), config)
            if config.get("InputType") == "MANIFEST" or config.get("ManifestType") == "S3_INVENTORY":
                return await self._read_inventory(json.loads(content), config)
            return Item.all(read_items(config, content), parameters["Bucket"], parameters["Key"])
        except AwsError as error:
            raise TaskError(ITEM_READER_FAILED, error.message) from None
        except EvaluationError as error:
            raise TaskError(ITEM_READER_FAILED, str(error)) from None
        except (KeyError, ValueError) as error:
            raise TaskError(ITEM_READER_FAILED, f"The manifest cannot be read: {error}") from None

    async def write(self, writer: dict[str, Json], folder: str, map_run_arn: str, files: Mapping[str, str]) -> Json:
        """Write files with the results of a map run, by their status; what the Map state's output then is.

        `folder` is where in the writer's Prefix they are written.  Raises TaskError States.ResultWriterFailed.
        """
        bucket, prefix = writer["Parameters"]["Bucket"], writer["Parameters"].get("Prefix", "")
        folder = f"{prefix.rstrip('/')}/{folder}" if prefix else folder
        ending = writer["WriterConfig"].get("OutputType", "JSON").lower()
        written: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        try:
            for status, text in files.items():
                key, body = f"{folder}/{status}_0.{ending}", text.encode()
                await self._call("PutObject", Bucket=bucket, Key=key, Body=body)
                written[status].append({"Key": key, "Size": len(body)})
            manifest = {"DestinationBucket": bucket, "MapRunArn": map_run_arn, "ResultFiles": written}
            key = f"{folder}/manifest.json"
            await self._call("PutObject", Bucket=bucket, Key=key, Body=to_json(manifest).encode())
        except AwsError as error:
            raise TaskError(RESULT_WRITER_FAILED, error.message) from None
        return {"MapRunArn": map_run_arn, "ResultWriterDetails": {"Bucket": bucket, "Key": key}}

    async def _call(self, operation: str, **members: Any) -> dict[str, Any]:
        await self._authorize(operation_model("s3", operation), members)
        return await self._calls.call("s3", operation, **members)

    async def _get(self, **parameters: Json) -> bytes:
        body: bytes = (await self._call("GetObject", **parameters))["Body"]
        return body

    async def _read_all(self, objects: Iterable[tuple[str, str]], config: dict[str, Json]) -> list[Item]:
        """The items in all of the objects, each by its bucket and key."""
        limit = config.get("MaxItems")
        items: list[Item] = []
        for bucket, key in objects:
            items += Item.all(read_items(config, await self._get(Bucket=bucket, Key=key)), bucket, key)
            if limit and len(items) >= limit:
                return items[:limit]
        return items

    async def _list(self, parameters: dict[str, Json], limit: int | None) -> list[Json]:
        objects: list[dict[str, Any]] = []
        more: dict[str, Any] = {}
        while True:
            answer = await self._call("ListObjectsV2", **parameters, **more)
            objects += answer.get("Contents", [])
            if not answer.get("IsTruncated") or (limit and len(objects) >= limit):
                break
            more = {"ContinuationToken": answer["NextContinuationToken"]}
        items = [_listed(it) for it in objects]
        return items[:limit] if limit else items

    async def _read_inventory(self, manifest: dict[str, Json], config: dict[str, Json]) -> list[Item]:
        """The objects that an S3 Inventory lists."""
        bucket = manifest["destinationBucket"].rsplit(":", 1)[-1]
        headers = [header.strip() for header in manifest["fileSchema"].split(",")]
        items: list[Item] = []
        for file in manifest["files"]:
            text = decompressed(await self._get(Bucket=bucket, Key=file["key"])).decode()
            rows = [dict(zip(headers, row, strict=False)) for row in csv_rows(config, text)]
            items += Item.all(rows, bucket, file["key"])
        limit = config.get("MaxItems")
        return items[:limit] if limit else items


def _listed(found: dict[str, Any]) -> Json:
    """An object as a reader lists it: some of what S3 tells of it, and the time in seconds."""
    told: dict[str, Json] = {"Etag": found["ETag"], "Key": found["Key"]}
    told |= {"LastModified": int(found["LastModified"].timestamp()), "Size": found["Size"]}
    return told | {name: found[name] for name in ("StorageClass", "Owner") if name in found}


def _bucket_and_key(uri: str) -> tuple[str, str]:
    """The two in `s3://bucket/key`.  Raises ValueError."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"{uri} is not the URI of an object in S3")
    return parts.netloc, parts.path.removeprefix("/")
