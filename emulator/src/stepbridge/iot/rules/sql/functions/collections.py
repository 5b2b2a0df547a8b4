"""Functions of arrays, objects, presence, and of bytes in text."""

import base64
import binascii

from stepbridge.iot.rules.sql.evaluation import Frame
from stepbridge.iot.rules.sql.values import UNDEFINED, Value, json_text, parse_json, to_int, to_text

# transform(): "The array returned by this function is limited to 128 KiB."
_MAX_TRANSFORMED = 128 * 1024


def get(collection: Value, key: Value) -> Value:
    """An item of an Array or a character of a String by its index from 0, a member of an Object by its key."""
    if isinstance(collection, dict):
        return collection.get(key, UNDEFINED) if isinstance(key, str) else UNDEFINED
    if not isinstance(collection, list | str):
        return UNDEFINED
    index = to_int(key)
    if index is None or not 0 <= index < len(collection):
        return UNDEFINED
    item: Value = collection[index]
    return item


def get_or_default(value: Value, default: Value = UNDEFINED) -> Value:
    """`default` in place of nothing (and, by way of the compiler, in place of a failure)."""
    return default if value is UNDEFINED or value is None else value


def is_null(value: Value) -> Value:
    """Whether Null; Undefined is not."""
    return value is None


def is_undefined(value: Value) -> Value:
    """Whether Undefined."""
    return value is UNDEFINED


def encode(frame: Frame, value: Value, scheme: Value) -> Value:
    """The text of a value in base64."""
    text = to_text(value)
    return UNDEFINED if text is None else encode_bytes(text.encode(errors="replace"), scheme)


def encode_bytes(data: bytes, scheme: Value) -> Value:
    """Bytes in base64, the only scheme there is."""
    return base64.b64encode(data).decode() if scheme == "base64" else UNDEFINED


def decode(frame: Frame, value: Value, scheme: Value, *descriptor: Value) -> Value:
    """Base64 to a JSON value or, failing that, a String (Null if it is neither); a protobuf message to an Object."""
    text = to_text(value)
    if text is None:
        return UNDEFINED
    if scheme == "proto":
        # decode(data, 'proto', bucket, key, file, message): the descriptor comes from S3.
        return frame.evaluation.external("decode", (text, scheme, *descriptor)) if len(descriptor) == 4 else UNDEFINED
    if scheme != "base64" or descriptor:
        return UNDEFINED
    try:
        padding = "" if "=" in text else "=" * (-len(text) % 4)  # Java's decoder does without
        data = base64.b64decode(text + padding, validate=True)
        decoded = data.decode()
    except (binascii.Error, ValueError):
        return None
    parsed = parse_json(data, frame.evaluation.version)
    return decoded if parsed is UNDEFINED else parsed


def transform(mode: Value, attributes: Value, items: Value) -> Value:
    """enrichArray: each object of an Array with the attributes of an Object added."""
    # A nested query over one object gives an array of one: the guide's third example passes such as both arguments.
    if isinstance(attributes, list) and len(attributes) == 1:
        attributes = attributes[0]
    if isinstance(items, list) and len(items) == 1 and isinstance(items[0], list):
        items = items[0]
    if mode != "enrichArray" or not isinstance(attributes, dict) or not isinstance(items, list):
        return UNDEFINED
    if not all(isinstance(item, dict) for item in items):
        return UNDEFINED
    result: Value = [item | attributes for item in items]
    return result if len(json_text(result).encode(errors="replace")) <= _MAX_TRANSFORMED else UNDEFINED
