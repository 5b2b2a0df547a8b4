"""Recordings of the real AWS Step Functions, replayed against the emulator.

The cases and their runner are not part of this repository: they lie beside it in `../shared/conformance`, or where
STEPBRIDGE_CONFORMANCE says.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepbridge.testing import EmulatorProcess

SUITE = (
    Path(os.environ.get("STEPBRIDGE_CONFORMANCE", Path(__file__).parents[3] / "shared" / "conformance"))
    / "step-functions"
)

# Cases that do not pass, and why.  A case named here that passes fails the test: the list is to be true.
EXCEPTIONS: dict[str, str] = {}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runner = SUITE / "run_conformance.py"
    if not runner.exists():
        pytest.fail(f"{runner} is missing: set STEPBRIDGE_CONFORMANCE to the folder with the conformance suites")
    folder = tmp_path_factory.mktemp("conformance")
    emulator = EmulatorProcess(folder / "emulator", "--memory")
    emulator.start()
    try:
        subprocess.run(
            [
                sys.executable,
                str(runner),
                f"--endpoint={emulator.endpoints['http']}",
                f"--cases={SUITE / 'cases'}",
                "--jobs=8",
                f"--out={folder / 'report.json'}",
            ],
            check=True,
            timeout=420,
            stdout=subprocess.DEVNULL,
        )
    finally:
        emulator.stop()
    answer: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return answer


@pytest.mark.slow
def test_every_recorded_case_passes_but_for_the_named_exceptions(report: dict[str, Any]) -> None:
    cases = {case["id"]: case for case in report["cases"]}
    failed = {name: case.get("diff") or case.get("reason") for name, case in cases.items() if case["result"] != "pass"}
    assert {name: why for name, why in failed.items() if name not in EXCEPTIONS} == {}
    assert sorted(EXCEPTIONS) == sorted(failed)


@pytest.mark.slow
def test_at_least_98_percent_pass(report: dict[str, Any]) -> None:
    passed = sum(case["result"] == "pass" for case in report["cases"])
    assert passed >= 0.98 * len(report["cases"])
