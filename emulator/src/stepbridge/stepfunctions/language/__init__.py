"""The Amazon States Language: definition text → checked tree, and the two query languages.

`parse` reads a definition into a `Definition` (or raises `InvalidDefinition` with every diagnostic), `validate` only
tells what is wrong with it, `parse_state` reads one state for TestState.  Paths, intrinsic functions, payload
templates, conditions and JSONata expressions are compiled here once and evaluated by the interpreter against a `Scope`.

https://states-language.net/spec.html
"""

from stepbridge.stepfunctions.language.definition import Definition
from stepbridge.stepfunctions.language.diagnostics import Diagnostic, InvalidDefinition
from stepbridge.stepfunctions.language.parser import parse, parse_state, validate
from stepbridge.stepfunctions.language.warnings import warnings

__all__ = ["Definition", "Diagnostic", "InvalidDefinition", "parse", "parse_state", "validate", "warnings"]
