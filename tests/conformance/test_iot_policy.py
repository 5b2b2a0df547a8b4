"""The shared cases of AWS IoT policy evaluation, each derived from a page of the developer guide."""

import os
from pathlib import Path

import pytest

from stepbridge.authorization.cases import PolicyCase, load_cases, run_case

_ROOT = Path(os.environ.get("STEPBRIDGE_CONFORMANCE", Path(__file__).parents[2].parent / "shared" / "conformance"))
_FILE = _ROOT / "iot-policy" / "cases.json"
_CASES = load_cases(_FILE.read_text()) if _FILE.exists() else []


def test_the_cases_are_there() -> None:
    assert _CASES, f"No cases at {_FILE}: set STEPBRIDGE_CONFORMANCE to the folder that holds iot-policy/cases.json."


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_case(case: PolicyCase) -> None:
    result = run_case(case)
    assert result.passed, f"{result.explanation}\n{case.note}"
