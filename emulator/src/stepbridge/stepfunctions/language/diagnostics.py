"""What is wrong with a definition, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `code` is AWS's (`SCHEMA_VALIDATION_FAILED`, …), `location` the place in the definition as AWS writes it
    (`/States/Hello/Next`), None where it tells none.  Findings of severity ERROR keep a definition from being created.
    """

    code: str
    message: str
    location: str | None = None
    severity: str = "ERROR"

    def __str__(self) -> str:
        if self.code == "INVALID_JSON_DESCRIPTION":
            return f"{self.code}: {self.message}"
        return f"{self.code}: {self.message} at {'null' if self.location is None else self.location}"


class InvalidDefinition(Exception):  # noqa: N818 (the name AWS gives it)
    """A definition that AWS refuses.  `diagnostics` are all findings, in AWS's order."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = diagnostics
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The message of the InvalidDefinition error of CreateStateMachine."""
        errors = ", ".join(str(finding) for finding in self.diagnostics if finding.severity == "ERROR")
        return f"Invalid State Machine Definition: '{errors}'"
