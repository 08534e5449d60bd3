"""``drill``, on the reference server as a process of its own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHORT = """
title = "A short one"
tries = ["VAL-001", "IDM-001"]
[load]
rate = 40
before = 0.6
after = 1.0
verbs = { validate = 1, issue = 1 }
[[steady]]
measure = "accepted-share"
at_least = 0.9
[[fault]]
kind = "timeout"
link = "clients->server"
start = 0
end = 0.5
timeout = 50
[[expect]]
phase = "after"
measure = "recovery"
at_most = 5
"""


def result(where: Path) -> Any:
    return json.loads((where / ".licensing" / "runs" / "latest" / "result.json").read_text())


def test_a_drill_is_told_measured_and_judged(command: Any, tmp_path: Path) -> None:
    """Before, during, after and clean-up are measured; what was tried is held; the run directory has it all."""
    (tmp_path / "short.toml").write_text(SHORT)

    done = command("drill", "short.toml", "--seed", "1")

    told = result(tmp_path)
    assert done.code == 0, done.out + done.err
    assert {each["name"]: each["verdict"] for each in told["thresholds"]} == {
        "before: accepted-share at least 0.9": "held",
        "after: accepted-share at least 0.9": "held",
        "clean-up: accepted-share at least 0.9": "held",
        "after: recovery at most 5": "held",
    }
    assert all(each["samples"] for each in told["thresholds"])
    assert told["faults"] == {"timeout": {"set": 1, "met": 1}}
    held = {each["id"] for each in told["promises"] if each["verdict"] == "held"}
    assert held >= {"VAL-001", "IDM-001"}
    assert "recovered   " in done.out
    assert "during" in done.out


def test_a_broken_promise_in_a_drill_is_exit_1(command: Any, tmp_path: Path) -> None:
    """A server that ignores idempotency keys sells an order twice when its answer was lost."""
    (tmp_path / "short.toml").write_text(SHORT)

    done = command("drill", "short.toml", "--seed", "1", "--defect", "idempotency-ignored")

    assert done.code == 1, done.out + done.err
    assert "IDM-001" in done.out


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("at_least = 0.9", "at_least = 2"), 11, "✗ before: accepted-share at least 2"),
        (("rate = 40", "rate = 1"), 10, "not measured"),
        (("[[steady]]", "[stop]\nseconds = 1\n[[steady]]"), 10, "called off: [stop] seconds: 1 s are over"),
        (("verbs = { validate = 1, issue = 1 }", "verbs = { validate = 1 }"), 10, "? IDM-001"),
    ],
    ids=["missed", "too few calls", "called off", "not tried"],
)
def test_what_is_not_as_expected_has_its_code(
    command: Any, tmp_path: Path, change: tuple[str, str], code: int, said: str
) -> None:
    """11 for a missed expectation alone, 10 for what could not be told; never 0."""
    (tmp_path / "short.toml").write_text(SHORT.replace(*change, 1))

    done = command("drill", "short.toml", "--seed", "1")

    assert done.code == code, done.out + done.err
    assert said in done.out
    assert result(tmp_path)["verdict"] == "undecided"


def test_a_dry_run_sends_nothing(command: Any, tmp_path: Path) -> None:
    """It reads the file and shows what would happen."""
    (tmp_path / "short.toml").write_text(SHORT)

    done = command("drill", "short.toml", "--dry-run", "--target", "http://127.0.0.1:9", "--adapter", "toy:ToyAdapter")

    assert done.code == 0, done.out + done.err
    assert "fault     timeout downstream timeout=50 toxicity=1  at 0.6 to 1.1 s" in done.out
    assert not (tmp_path / ".licensing").exists()


def test_the_drills_that_come_along_are_listed(command: Any) -> None:
    """By name, with how long they take."""
    done = command("drill", "--list")

    assert done.code == 0
    assert "answers-lost-during-activation" in done.out


def test_a_target_that_is_not_there_is_not_ready(command: Any, tmp_path: Path) -> None:
    """Exit 12, and no phase is made up."""
    (tmp_path / "short.toml").write_text(SHORT)

    done = command("drill", "short.toml", "--target", "http://127.0.0.1:9", "--adapter", "toy:ToyAdapter")

    assert done.code == 12, done.out + done.err
    assert "http://127.0.0.1:9 does not answer" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("change", "code"),
    [(("", ""), 0), (("at_least = 0.9", "at_least = 2"), 11), (("[[steady]]", "[stop]\nseconds = 1\n[[steady]]"), 10)],
    ids=["held", "missed", "called off"],
)
def test_a_stored_drill_comes_to_the_same_end(command: Any, tmp_path: Path, change: tuple[str, str], code: int) -> None:
    """Its one history file has the phases, the expectations and why it was called off: same verdict, same code."""
    (tmp_path / "short.toml").write_text(SHORT.replace(*change, 1))
    command("drill", "short.toml", "--seed", "1", "--world", "simulated")
    told = result(tmp_path)

    again = command("check", ".licensing/runs/latest/history.jsonl", "--json")

    judged = json.loads(again.out)
    assert again.code == told["exit_code"] == code, again.out + again.err
    for same in ("verdict", "thresholds", "drill", "promises", "matrix", "faults", "findings"):
        assert judged[same] == told[same]


def test_a_target_of_a_drill_ranks_with_the_file_of_settings(command: Any, tmp_path: Path) -> None:
    """Above licensing-harness.toml, below the environment and the command line."""
    (tmp_path / "licensing-harness.toml").write_text('report = "from-toml"\nseed = 1\n')
    (tmp_path / "short.toml").write_text(f'{SHORT}\n[target]\nreport = "from-drill"\nworld = "simulated"\n')

    def report(*more: str, **environment: str) -> str:
        done = command("drill", "short.toml", *more, **environment)
        assert done.code == 0, done.out + done.err
        [written] = (each.name for each in tmp_path.glob("from-*"))
        shutil.rmtree(tmp_path / written)
        return str(written)

    assert report() == "from-drill"
    assert report(LICENSING_REPORT="from-environment") == "from-environment"
    assert report("--report", "from-line", LICENSING_REPORT="from-environment") == "from-line"


def test_a_case_of_a_drill_is_replayed_with_its_faults_at_their_times(command: Any, tmp_path: Path) -> None:
    """The plan has the faults and the moments of every call."""
    (tmp_path / "short.toml").write_text(SHORT)
    done = command("drill", "short.toml", "--seed", "1", "--world", "simulated", "--defect", "idempotency-ignored")
    [case] = (tmp_path / ".licensing/runs/latest/cases").glob("IDM-001*.json")

    again = command("replay", str(case))

    told = json.loads(case.read_text())
    [history] = tmp_path.glob(".licensing/runs/2*/replays/*/history.jsonl")
    records = [json.loads(line) for line in history.read_text().splitlines()]
    faults = [[each for each in some if each["kind"] == "fault"] for some in (told["history"], records)]
    assert done.code == again.code == 1, again.out + again.err
    assert [each["do"] for each in told["plan"]].count("fault") == 1
    assert faults[0] == faults[1] != []


def test_a_fault_that_can_t_be_done_is_not_run(command: Any, tmp_path: Path) -> None:
    """Exit 10 with the reason, in the notes and in the table of faults; the target is left healthy."""
    text = SHORT.replace('kind = "timeout"', 'kind = "slicer"').replace("timeout = 50", "average_size = 5")
    (tmp_path / "short.toml").write_text(text)

    done = command("drill", "short.toml", "--seed", "1", "--world", "simulated")

    told = result(tmp_path)
    assert done.code == 10, done.out + done.err
    assert "not run: " in done.out
    [row] = [each for each in told["matrix"] if each["fault"] == "slicer"]
    assert "no stream of bytes" in row["reason"]
    assert told["drill"]["phases"][-1]["accepted"] == 4


def test_interrupted_it_cleans_up(tmp_path: Path) -> None:
    """Ctrl-C in mid-outage: the fault is removed, its end is in the history, the server is gone, exit 2."""
    (tmp_path / "long.toml").write_text(SHORT.replace("end = 0.5", "end = 60"))
    with subprocess.Popen(
        [sys.executable, "-m", "licensing_harness", "drill", "long.toml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            history = _history_with_an_unknown(tmp_path, process)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()

    records = [json.loads(line) for line in history.read_text().splitlines()]
    [fault] = [each for each in records if each["kind"] == "fault"]
    assert process.returncode == 2, said
    assert fault["end"] is not None
    assert "Traceback" not in said
    assert not [each for each in records if each["kind"] == "end"]


def _history_with_an_unknown(where: Path, process: subprocess.Popen[str]) -> Path:
    """Wait until a call has met the fault."""
    for _ in range(600):
        for path in where.glob(".licensing/runs/2*/history.jsonl"):
            whole = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if any(each["kind"] == "operation" and "outcome" not in each for each in whole):
                return path
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError("the drill ended before any call met its fault")
