"""The IoT SQL conformance cases: outputs of the real service, and of AWS's documentation.

The cases are in `iot-sql` of the conformance folder, beside the repository unless STEPBRIDGE_CONFORMANCE says
otherwise.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stepbridge.iot.rules.cases import load_cases, run_case

_ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE = Path(os.environ.get("STEPBRIDGE_CONFORMANCE", _ROOT.parent / "shared" / "conformance"))
CASES_DIRECTORY = CONFORMANCE / "iot-sql"

STRICT = {"validated", "observed_sample", "doc_example", "doc_table"}
LENIENT_SHARE = 0.95

# Cases whose expectation we do not follow, and why.  Only of bases that are not STRICT.
EXCEPTIONS: dict[str, str] = {}


def _load() -> list[dict[str, Any]]:
    return load_cases(CASES_DIRECTORY) if CASES_DIRECTORY.is_dir() else []


CASES = _load()


def test_the_cases_are_there() -> None:
    assert CASES, (
        f"no conformance cases in {CASES_DIRECTORY}: set STEPBRIDGE_CONFORMANCE to the folder that has iot-sql/"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    if case["id"] in EXCEPTIONS:
        pytest.xfail(EXCEPTIONS[case["id"]])
    result = run_case(case)
    assert result.passed, (
        f"{case.get('sql') or case.get('template')}\nexpected {result.expected}\nobserved {result.observed}"
    )


def test_the_exceptions_are_few() -> None:
    bases = {case["id"]: case["basis"] for case in CASES}
    excepted = Counter(bases[name] for name in EXCEPTIONS if name in bases)
    assert not excepted.keys() & STRICT
    total = Counter(bases.values())
    lenient = [basis for basis in total if basis not in STRICT]
    assert sum(excepted.values()) <= (1 - LENIENT_SHARE) * sum(total[basis] for basis in lenient)
