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


SOUND = prove.Clean(seeds=200, held={"SEA-001", "VAL-001"})
ACCUSED = prove.Clean(seeds=200, accused=["SEA-001 in seats/test_seats.py::test_x"], held={"VAL-001"})
UNTRIED = prove.Clean(seeds=200, held={"VAL-001"}, undecided={"SEA-001"})


@pytest.mark.parametrize(
    ("proofs", "sound", "code", "said"),
    [
        ([KILLED], SOUND, 0, "0 false alarms in 200 runs, 2 promises held"),
        ([KILLED, SURVIVED], SOUND, 1, "survived: hidden"),
        ([KILLED], ACCUSED, 1, "1 false alarm in 200 runs"),
        ([KILLED], UNTRIED, 10, "never tried on it: SEA-001"),
    ],
    ids=["proved", "survivor", "false alarm", "not tried"],
)
def test_only_a_whole_proof_is_exit_0(
    proofs: list[prove.Proof], sound: prove.Clean, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 only when every defect was killed by its own promise, nobody innocent was accused, and all was tried."""
    assert prove._show(Console(width=160), proofs, sound) == code

    assert said in capsys.readouterr().out


def test_seeds_are_shared_out_whole() -> None:
    """Every seed is run once, whatever the number of jobs, and no process runs many."""
    shares = list(prove._shares(205, 2))

    assert [first for first, _ in shares] == list(range(0, 205, 10))
    assert [count for _, count in shares] == [10] * 20 + [5]
    assert list(prove._shares(4, 3)) == [(0, 2), (2, 2)]
    assert list(prove._shares(0, 2)) == []


def test_a_promise_held_under_any_seed_was_tried() -> None:
    """Shares add up, and what one of them could not try another may have."""
    sound = prove.Clean(seeds=10, held={"VAL-001"}, undecided={"SEA-001", "REV-001"})

    sound.add(prove.Clean(seeds=5, accused=["x"], held={"SEA-001"}, undecided={"VAL-001"}))

    assert sound == prove.Clean(seeds=15, accused=["x"], held={"VAL-001", "SEA-001"}, undecided={"REV-001"})


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


def test_a_defect_that_needs_faults_is_explored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed at the first seed that breaks its promise, and survives where no story does."""
    monkeypatch.chdir(tmp_path)
    # What the user's file says of their own target is not for us.
    (tmp_path / "licensing-harness.toml").write_text('target = "asgi:nowhere:app"\nadapter = "nowhere:Adapter"\n')

    codes = []
    for seeds in (40, 1):
        monkeypatch.setitem(prove._SEEDS, "smoke", seeds)
        codes.append(prove.run(names=["lease-by-two-clocks"], seeds=0, jobs=1, depth="smoke"))
        [proof] = json.loads((tmp_path / ".licensing" / "prove.json").read_text())["defects"]
        assert proof["killed"] is (seeds == 40)
        assert proof["examples"] == (26 if seeds == 40 else 0)
        assert ("SEA-001" in proof["broken"]) is (seeds == 40)

    assert codes == [0, 1]
    assert "survived: lease-by-two-clocks" in capsys.readouterr().out
