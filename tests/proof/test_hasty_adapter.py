"""Unknown is not refused: an adapter that confuses the two makes a sound server look guilty, and shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from licensing_harness.target.reference import REFERENCE_SIMULATED


@pytest.mark.parametrize(("adapter", "code"), [("hasty:Hasty", 1), ("hasty:ReferenceAdapter", 0)])
def test_an_adapter_that_reads_unknown_as_refused_goes_red(tmp_path: Path, adapter: str, code: int) -> None:
    """With answers lost, seats look withheld and the trail looks made up; with the right adapter all is held."""
    command = [sys.executable, "-m", "licensing_harness", "gate", "--target", REFERENCE_SIMULATED]
    done = subprocess.run(
        [*command, "--adapter", adapter, "--only", "seats", "--only", "audit", "--depth", "smoke", "--seed", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    result = json.loads((tmp_path / ".licensing" / "runs" / "latest" / "result.json").read_text())
    broken = {each["id"] for each in result["promises"] if each["verdict"] == "broken"}
    assert done.returncode == code, done.stdout + done.stderr
    assert broken >= {"SEA-002", "AUD-002"} if code else not broken
