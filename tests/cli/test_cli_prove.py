"""``prove``: a killed defect, a survivor, a false alarm, and the file that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from licensing_harness.commands import prove

KILLED = prove.Proof(name="seats-race", promise="SEA-001", broken=["SEA-001"], killed=True, examples=3, seconds=1.0)
SURVIVED = prove.Proof(name="hidden", promise="VAL-001", broken=["SEA-001"], killed=False, examples=0, seconds=1.0)


@pytest.mark.parametrize(
    ("proofs", "accused", "code"),
    [([KILLED], [], 0), ([KILLED, SURVIVED], [], 1), ([KILLED], ["SEA-001 in seats/test_seats.py::test_x"], 1)],
)
def test_a_survivor_and_a_false_alarm_are_exit_1(
    proofs: list[prove.Proof], accused: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 only when every defect was killed by its own promise and nobody innocent was accused."""
    assert prove._show(Console(width=160), proofs, 200, accused) == code

    shown = capsys.readouterr().out
    assert f"sound server: {len(accused)} false alarms in 200 runs" in shown
    assert ("survived: hidden" in shown) == (SURVIVED in proofs)


def test_seeds_are_shared_out_whole() -> None:
    """Every seed is run once, whatever the number of jobs."""
    shares = list(prove._shares(200, 3))

    assert sum(count for _, count in shares) == 200
    assert [first for first, _ in shares] == [0, 67, 134]
    assert list(prove._shares(0, 2)) == []


def test_one_defect_is_killed_and_the_sound_server_is_not_accused(command: Any, tmp_path: Path) -> None:
    """The whole way, for one defect and two seeds; the file has the shape that others read."""
    done = command("prove", "--defect", "seats-race", "--seeds", "2", "--depth", "smoke")

    told = json.loads((tmp_path / ".licensing" / "prove.json").read_text())
    [proof] = told["defects"]
    assert done.code == 0, done.out + done.err
    assert set(told) == {"defects", "clean_runs", "false_alarms"}
    assert (told["clean_runs"], told["false_alarms"]) == (2, 0)
    assert set(proof) == {"name", "promise", "broken", "killed", "examples", "seconds"}
    assert (proof["name"], proof["promise"], proof["killed"]) == ("seats-race", "SEA-001", True)
    assert "SEA-001" in proof["broken"]
    assert proof["examples"] >= 1
    assert not (tmp_path / ".licensing" / "runs").exists()
