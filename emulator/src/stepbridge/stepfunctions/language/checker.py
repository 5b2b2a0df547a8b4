"""Reads the fields of a definition's objects, noting every mistake with its place instead of stopping at the first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepbridge.stepfunctions.language import intrinsics, jsonata_expression, jsonata_references, jsonpath, templates
from stepbridge.stepfunctions.language.definition import JSONATA, ROOT, Number
from stepbridge.stepfunctions.language.diagnostics import Diagnostic
from stepbridge.stepfunctions.language.intrinsics import Call
from stepbridge.stepfunctions.language.jsonata_expression import Expression
from stepbridge.stepfunctions.language.jsonpath import Path
from stepbridge.stepfunctions.language.templates import Template
from stepbridge.stepfunctions.language.values import Json, is_number

SCHEMA = "SCHEMA_VALIDATION_FAILED"

# Fields that only one query language has.
JSONPATH_ONLY = {
    "InputPath", "OutputPath", "ResultPath", "Parameters", "ResultSelector", "Result", "ItemsPath",
    "TimeoutSecondsPath", "HeartbeatSecondsPath", "SecondsPath", "TimestampPath", "MaxConcurrencyPath",
    "ToleratedFailurePercentagePath", "ToleratedFailureCountPath", "ErrorPath", "CausePath", "MaxItemsPath",
    "MaxItemsPerBatchPath", "MaxInputBytesPerBatchPath", "Variable",
}  # fmt: skip
JSONATA_ONLY = {"Arguments", "Output", "Items", "Condition"}


@dataclass(slots=True)
class Findings:
    """The diagnostics of one definition."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def add(self, message: str, location: str | None, code: str = SCHEMA) -> None:
        self.diagnostics.append(Diagnostic(code, message, location))


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a definition, at `location`, in a state of the query language `language`.

    `place` is where the object is within its state, for the location of JSONata failures (`Catch[1]/`); `has_result`
    tells a state that calls or contains something that has a result.
    """

    members: Mapping[str, Json]
    location: str
    language: str
    findings: Findings
    place: str = ""
    has_result: bool = False

    @property
    def is_jsonata(self) -> bool:
        return self.language == JSONATA

    def error(self, message: str, name: str | None = None, code: str = SCHEMA) -> None:
        """Note a mistake of the object, or of its field `name`."""
        self.findings.add(message, self.location if name is None else f"{self.location}/{name}", code)

    def has(self, name: str) -> bool:
        return name in self.members

    def allow(self, names: Iterable[str], *, either_language: bool = False) -> None:
        """Note every field that is not one of `names`, or belongs to the other query language.

        With `either_language` fields of both languages may be there.
        """
        allowed = {"Comment", *names}
        other, fields = ("JSONPath", JSONPATH_ONLY) if self.is_jsonata else (JSONATA, JSONATA_ONLY)
        for name in self.members:
            if name not in allowed:
                self.error(f"Field '{name}' is not supported")
            elif name in fields and not either_language:
                self.error(
                    f"The QueryLanguage is set to '{self.language}', "
                    f"but field '{name}' is only supported for the '{other}' QueryLanguage"
                )

    def require(self, *names: str) -> None:
        """Note the fields of `names` that are missing."""
        missing = [name for name in names if name not in self.members]
        if missing:
            self.error(f"These fields are required: [{', '.join(missing)}]")

    def at_most_one(self, *names: str) -> None:
        if sum(name in self.members for name in names) > 1:
            self.error(f"There should only be one of the following fields: [{', '.join(names)}]")

    def exactly_one(self, *names: str) -> None:
        if not any(name in self.members for name in names):
            self.error(f"This object should have only one of the following fields: [{', '.join(names)}]")
        self.at_most_one(*names)

    # --- Plain values -------------------------------------------------------------------------------------------------

    def text(self, name: str, default: str = "") -> str:
        value = self.members.get(name, default)
        if not isinstance(value, str):
            self.error("Expected value of type String", name)
            return default
        return value

    def choice(self, name: str, values: tuple[str, ...], default: str) -> str:
        """One of `values`."""
        value = self.members.get(name, default)
        if value not in values:
            self.error(f"Value should be one of the following: [{', '.join(values)}]", name)
            return default
        return str(value)

    def array(self, name: str, *, may_be_empty: bool = False) -> list[Json]:
        value = self.members.get(name, [])
        if not isinstance(value, list):
            self.error("Expected value of type Array", name)
            return []
        if not value and name in self.members and not may_be_empty:
            self.error("Value cannot be empty", name)
        return value

    def object(self, name: str, place: str | None = None) -> "Fields":
        """The object in the field `name`; empty if it is none."""
        value = self.members.get(name, {})
        if not isinstance(value, dict):
            self.error("Expected value of type Object", name)
            value = {}
        return Fields(value, f"{self.location}/{name}", self.language, self.findings, f"{self.place}{place or name}/")

    def objects(self, name: str, *, may_be_empty: bool = False) -> list["Fields"]:
        """The objects in the array `name`."""
        found = []
        for index, value in enumerate(self.array(name, may_be_empty=may_be_empty)):
            location = f"{self.location}/{name}[{index}]"
            if not isinstance(value, dict):
                self.findings.add("Expected value of type Object", location)
                continue
            found.append(Fields(value, location, self.language, self.findings, f"{self.place}{name}[{index}]/"))
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """The strings in the array `name`."""
        values = self.array(name)
        if not all(isinstance(value, str) for value in values):
            self.error("Expected value of type String", name)
        return tuple(value for value in values if isinstance(value, str))

    def integer(self, name: str, default: Any, least: int, most: int | None = None) -> Any:
        if name not in self.members:
            return default
        return self._ranged(name, self.members[name], default, least, most, whole=True)

    def decimal(self, name: str, default: Any, least: float, most: float | None = None) -> Any:
        if name not in self.members:
            return default
        return self._ranged(name, self.members[name], default, least, most, whole=False)

    def _ranged(self, name: str, value: Json, default: Any, least: float, most: float | None, *, whole: bool) -> Any:
        if not is_number(value) or (whole and not isinstance(value, int)):
            self.error(f"Expected value of type {'Integer' if whole else 'Float'}", name)
        elif value < least:
            self.error(f"Minimum value is {least}", name)
        elif most is not None and value > most:
            self.error(f"Maximum value is {most}", name)
        else:
            return value
        return default

    # --- Paths, templates, expressions --------------------------------------------------------------------------------

    def path(self, name: str, default: Path | None = None) -> Path | None:
        """A path; null stands for itself."""
        if name not in self.members or self.is_jsonata:
            return default
        value = self.members[name]
        if value is None:
            return None
        try:
            path = jsonpath.parse(value)
        except jsonpath.PathError:
            self.error("Value must be a valid JSONPath.", name)
            return default
        return ROOT if path == ROOT else path

    def reference_path(self, name: str, *, context: bool = False) -> Path | None:
        """A reference path, from `$`, a variable or, with `context`, the context object."""
        if name not in self.members or self.is_jsonata:
            return None
        try:
            path = jsonpath.parse(self.members[name])
        except jsonpath.PathError:
            self.error("Value is not a Reference Path", name)
            return None
        if not path.is_reference or (path.root == "$$" and not context):
            self.error("Value is not a Reference Path", name)
            return None
        return path

    def result_path(self) -> Path | None:
        """ResultPath: where in the input the result is put; None discards it."""
        if "ResultPath" not in self.members or self.is_jsonata:
            return ROOT
        value = self.members["ResultPath"]
        if value is None:
            return None
        try:
            path = jsonpath.parse(value)
        except jsonpath.PathError:
            path = None
        if path is None or not path.is_reference or path.root != "$":
            self.error("Value is not a Reference Path that can be applied to state output", "ResultPath")
            return ROOT
        return path

    def path_or_call(self, name: str) -> Path | Call | None:
        """A path or an intrinsic function (ErrorPath, CausePath)."""
        if name not in self.members or self.is_jsonata:
            return None
        value = self.members[name]
        try:
            if isinstance(value, str) and value.startswith("States."):
                return intrinsics.parse(value)
            return jsonpath.parse(value)
        except (jsonpath.PathError, intrinsics.IntrinsicError):
            self.error("Value must be a valid JSONPath or a valid intrinsic function call", name)
            return None

    def template(self, name: str) -> Template | None:
        """A payload template in the state's query language."""
        if name not in self.members:
            return None
        value = self.members[name]
        try:
            if self.is_jsonata:
                return templates.parse_jsonata(value, f"{self.place}{name}", self._states_fields(name))
            return templates.parse_jsonpath(value)
        except templates.TemplateError as error:
            for problem in error.problems:
                self.error(problem.message, f"{name}{problem.location}", problem.code)
            return None

    def _states_fields(self, name: str) -> tuple[str, ...]:
        """The fields of `$states` that the expressions in the field `name` can read."""
        if self.place.startswith("Catch["):
            return (*jsonata_references.ALWAYS, "errorOutput")
        if self.has_result and not self.place and name in ("Output", "Assign"):
            return (*jsonata_references.ALWAYS, "result")
        return jsonata_references.ALWAYS

    def object_template(self, name: str) -> Template | None:
        """A payload template that is an object in JSONPath, and an object or an expression in JSONata."""
        value = self.members.get(name)
        if name in self.members and not (
            isinstance(value, dict) or (self.is_jsonata and jsonata_expression.is_expression(value))
        ):
            self.error("Expected value of type Object", name)
            return None
        return self.template(name)

    def expression(self, name: str) -> Expression | None:
        """The JSONata expression in the field, if it is one."""
        if not self.is_jsonata or not jsonata_expression.is_expression(self.members.get(name)):
            return None
        parsed = self.template(name)
        return parsed if isinstance(parsed, Expression) else None

    def number(self, name: str, least: float, most: float | None = None, *, whole: bool = True) -> Number | None:
        """A number: in the field itself, at the path in the field `…Path`, or computed by JSONata."""
        path_name = f"{name}Path"
        self.at_most_one(name, path_name)
        if path_name in self.members:
            return self.reference_path(path_name)
        if self.is_jsonata and isinstance(self.members.get(name), str):
            if not jsonata_expression.is_expression(self.members[name]):
                self.error("JSONata string must start with {% and end with %}", name)
            return self.expression(name)
        if name not in self.members:
            return None
        value: Number | None = self._ranged(name, self.members[name], None, least, most, whole=whole)
        return value
