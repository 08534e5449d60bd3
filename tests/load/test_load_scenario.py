"""The shipped load scenario through the plugin, on a target that nobody here serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkin_toy import SECRET, Toy, serving

from licensing_harness.rows import Row, Rows
from licensing_harness.suite import scenarios
from licensing_harness.verdict import RunResult, Verdict


def _gate(toy: Toy, directory: Path) -> tuple[int, dict[str, Any], str]:
    """The exit code, ``result.json`` and the output of pytest over ``scenarios/load``."""
    with serving(toy) as url:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *(f"--rootdir={scenarios().parent}", "--licensing-depth=smoke", f"--licensing-report={directory}"),
                *(f"--licensing-target={url}", "--licensing-adapter=checkin_toy:ToyAdapter"),
                str(scenarios() / "load"),
            ],
            cwd=directory,
            env={**os.environ, "LICENSING_SECRET_TOKEN": SECRET, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=False,
        )
    (result,) = directory.glob("runs/*-*/result.json")
    return done.returncode, json.loads(result.read_text()), done.stdout + done.stderr


def test_missed_thresholds_alone_exit_11(tmp_path: Path) -> None:
    """Every promise is held, one call in twenty had no answer: 11, and the figure is in result.json."""
    code, result, said = _gate(Toy(breaks=20), tmp_path)

    assert code == 11, said
    assert result["exit_code"] == 11
    (threshold,) = result["thresholds"]
    assert (threshold["name"], threshold["verdict"]) == ("unknown", "broken")
    assert threshold["samples"] > 100
    assert not result["findings"]


def test_over_booking_under_load_exits_1(tmp_path: Path) -> None:
    """The finding is in the run's result, and its story is in the run's history."""
    code, result, said = _gate(Toy(overbooks=True), tmp_path)
    story = next(each["story"] for each in result["findings"] if each["promise"] == "SEA-001")
    (history,) = tmp_path.glob("runs/*-*/history.jsonl")

    assert code == 1, said
    assert f'"story":"{story}"' in history.read_text()
    assert "never more holders than seats" in said
    assert SECRET not in said


@pytest.mark.parametrize(("verdict", "code"), [("held", 0), ("broken", 11), ("undecided", 10)])
def test_a_threshold_counts_in_the_exit_code(verdict: str, code: int) -> None:
    """A scenario that held passes on what its thresholds came to."""
    rows = Rows()
    threshold = {"name": "unknown", "limit": 0.01, "unit": "share", "value": 0.5, "samples": 2, "verdict": verdict}
    rows.add(Row(scenario="load", world="live", verdict=Verdict.HELD, thresholds=[threshold]), failed=False)

    assert rows.exit_code(0, 0) == code
    assert rows.complete(RunResult(), exit_code=code).thresholds == [threshold]
