"""Every drill that comes along: held on a sound server, undecided without its fault, red with a defect planted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from licensing_harness.commands import drilled
from licensing_harness.commands.drill import shipped
from licensing_harness.history import read_history
from licensing_harness.verdict import worst

DEFECTS = {
    "answers-lost-during-activation": ("last-seat-kept-back", "SEA-002"),
    "clock-jumps-over-a-lease": ("last-seat-kept-back", "SEA-002"),
    "flapping-link": ("last-seat-kept-back", "SEA-002"),
    "herd-after-an-outage": ("last-seat-kept-back", "SEA-002"),
    "postgresql-gone": ("idempotency-ignored", "IDM-001"),
    "power-loss": ("answer-before-fsync", "IDM-001"),
    "proxy-answers-html": ("last-seat-kept-back", "SEA-002"),
    "requests-lost-during-issue": ("idempotency-ignored", "IDM-001"),
    "revocation-while-cut-off": ("revoked-cached", "REV-001"),
    "server-killed-under-load": ("idempotency-in-memory", "IDM-001"),
    "slow-loris": ("last-seat-kept-back", "SEA-002"),
    "store-locked-then-full": ("idempotency-ignored", "IDM-001"),
}
"""What each drill finds, and by which promise."""

LIVE = ("postgresql-gone", "slow-loris", "store-locked-then-full")
"""Drills that only the live world can do: tests tell them in less time than they would take."""

SIMULATED = [name for name in DEFECTS if name not in LIVE]
_TIME = re.compile(r"^(before|after|start|end|at) = ([0-9.]+)$", re.MULTILINE)


def shorter(name: str, where: Path) -> str:
    """The drill in three fifths of its time."""
    text = shipped()[name].read_text(encoding="utf-8")
    path = where / f"{name}.toml"
    path.write_text(_TIME.sub(lambda found: f"{found[1]} = {max(float(found[2]) * 0.6, 0):g}", text))
    return path.name


def result(where: Path) -> Any:
    return json.loads((where / ".licensing" / "runs" / "latest" / "result.json").read_text())


def without_faults(where: Path) -> int:
    """The exit code of what was told, had no fault ever been seen."""
    history = read_history(where / ".licensing" / "runs" / "latest" / "history.jsonl")
    stories = list(history.stories.values())
    for each in stories:
        each.faults.clear()
    [found] = drilled.rehearsals(stories)
    return worst(found.codes)


def test_every_drill_that_comes_along_is_here() -> None:
    """So that none is shipped which nobody saw fail."""
    assert set(DEFECTS) == set(shipped())
    assert len(DEFECTS) == 12


@pytest.mark.parametrize("name", SIMULATED)
def test_it_is_held_in_virtual_time(command: Any, tmp_path: Path, name: str) -> None:
    """At its full length; every promise that it claims was tried under every fault that it has."""
    done = command("drill", name, "--seed", "1", "--world", "simulated")

    told = result(tmp_path)
    assert done.code == 0, done.out + done.err
    rows = [each for each in told["matrix"] if each["set"]]
    assert rows
    assert all(each["met"] for each in rows)
    held = {each["id"] for each in told["promises"] if each["verdict"] == "held"}
    [claims] = [each.tries for each in read_history(history(tmp_path)).stories.values()]
    assert held >= set(claims) != set()
    tried = {cell["promise"] for row in rows for cell in row["promises"] if cell["tried"]}
    assert tried >= set(claims)
    assert without_faults(tmp_path) != 0


def history(where: Path) -> Path:
    return where / ".licensing" / "runs" / "latest" / "history.jsonl"


@pytest.mark.parametrize("name", SIMULATED)
def test_it_finds_a_defect_in_virtual_time(command: Any, name: str) -> None:
    """One that its outage brings to light: exit 1, by the promise that it breaks."""
    defect, promise = DEFECTS[name]
    # The moment between an answer and its fsync is short: not every seed has a power loss in it.
    for seed in range(1, 13):
        done = command("drill", name, "--seed", str(seed), "--world", "simulated", "--defect", defect)
        if done.code == 1:
            break

    assert done.code == 1, done.out + done.err
    assert f"\u2717 {promise}" in done.out


@pytest.mark.parametrize("name", ["slow-loris", "store-locked-then-full"])
def test_it_is_held_on_real_processes(command: Any, tmp_path: Path, name: str) -> None:
    """In less time; and undecided had its fault never been seen."""
    done = command("drill", shorter(name, tmp_path), "--seed", "1")

    assert done.code == 0, done.out + done.err
    assert all(each["met"] for each in result(tmp_path)["matrix"] if each["set"])
    assert without_faults(tmp_path) != 0


@pytest.mark.parametrize("name", ["slow-loris", "store-locked-then-full"])
def test_it_finds_a_defect_on_real_processes(command: Any, tmp_path: Path, name: str) -> None:
    """Exit 1, by the promise that the defect breaks."""
    defect, promise = DEFECTS[name]

    done = command("drill", shorter(name, tmp_path), "--seed", "1", "--defect", defect)

    assert done.code == 1, done.out + done.err
    assert f"\u2717 {promise}" in done.out


@pytest.mark.parametrize("name", ["proxy-answers-html", "herd-after-an-outage"])
def test_quick_ones_are_held_at_full_length_on_real_processes(command: Any, tmp_path: Path, name: str) -> None:
    """As a user runs them; and the stored history comes to the same end."""
    done = command("drill", name, "--seed", "1")
    again = command("check", str(history(tmp_path)))

    assert done.code == 0, done.out + done.err
    assert again.code == 0, again.out + again.err
    assert done.out[done.out.index("phase ") : done.out.index("licensing-harness")] in again.out


def test_a_database_that_is_not_there_is_not_run(command: Any, tmp_path: Path) -> None:
    """An SQLite file can't be gone while a process has it open: exit 10 with the reason, never held."""
    done = command("drill", shorter("postgresql-gone", tmp_path), "--seed", "1")

    told = result(tmp_path)
    assert done.code == 10, done.out + done.err
    assert "PostgreSQL can (--licensing-store)" in " ".join(done.out.split())
    [row] = [each for each in told["matrix"] if each["fault"] == "store-gone"]
    assert (row["set"], row["promises"]) == (0, [])
    assert "SQLite" in row["reason"]


@pytest.mark.parametrize("defect", ["", "idempotency-ignored"], ids=["sound", "defect"])
def test_postgresql_is_gone_and_back(command: Any, tmp_path: Path, postgresql_server: str, defect: str) -> None:
    """Held on a real PostgreSQL, and broken where keys are ignored."""
    more = ("--defect", defect) if defect else ()

    done = command(
        "drill", shorter("postgresql-gone", tmp_path), "--seed", "1", "--store", f"{postgresql_server}/postgres", *more
    )

    assert done.code == (1 if defect else 0), done.out + done.err
    assert {each["fault"] for each in result(tmp_path)["matrix"] if each["met"]} == {
        "store-gone",
        "terminated-backends",
    }
