"""Drawn stories: a seed is a story, stories are told and judged, and what breaks a promise gets small."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from licensing_harness import cli
from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.generate.draw import Family
from licensing_harness.generate.explore import Explorer, Reached, Unequal
from licensing_harness.generate.workers import explore_all
from licensing_harness.target.adapter import Target
from licensing_harness.target.reference import ReferenceAdapter, simulated
from licensing_harness.vocabulary import Cap, Contract
from licensing_harness.worlds.story import DEVICES

SOUND = Explorer(simulated(), ReferenceAdapter)


def test_the_same_seed_tells_the_same_story() -> None:
    """Two tellings of a seed have one digest, and another seed has another."""
    digests = [SOUND.told(seed).digest() for seed in (5, 5, 6)]

    assert digests[0] == digests[1]
    assert digests[1] != digests[2]


def test_a_longer_story_begins_like_the_shorter_one() -> None:
    """More steps are appended: those before them stay as they are."""
    short, long = SOUND.family.plan(3, 10), SOUND.family.plan(3, 30)
    closing = 3 + sum(step["do"] == "fresh_licence" for step in short)

    assert len(short) > closing + 10
    assert short[:-closing] == long[: len(short) - closing]


@pytest.mark.parametrize("seed", range(8))
def test_leaving_out_a_decision_leaves_the_others(seed: int) -> None:
    """Without one decision that issues nothing and cuts nothing, the plan is the same plan without its steps."""
    whole = SOUND.family.plan(seed, 20)
    for index in range(20):
        rest = SOUND.family.plan(seed, 20, left_out={index})
        gone = len(whole) - len(rest)
        fewer = [at for at in range(len(whole)) if [*whole[:at], *whole[at + gone :]] == rest]
        spoken_of = sum(step["do"] == "fresh_licence" for step in rest)
        if spoken_of == sum(step["do"] == "fresh_licence" for step in whole) and _cuts(rest) == _cuts(whole):
            assert fewer, index


def _cuts(plan: list[dict[str, Any]]) -> int:
    return sum(step["do"] == "cut_next" for step in plan)


def test_a_target_is_asked_for_no_more_than_it_can_do() -> None:
    """Verbs, crashes and leases follow the capabilities and the numbers that are stated."""
    family = Family({Cap.ISSUE, Cap.VALIDATE}, Contract())
    plans = [step for seed in range(40) for step in family.plan(seed)]

    assert {step["verb"] for step in plans if "verb" in step} == {"issue", "validate"}
    assert family.verbs == ("issue", "validate")
    assert not [step for step in plans if step["do"] == "crash" or step.get("seconds") == 2.2]


def test_the_sound_server_is_not_accused() -> None:
    """Some seeds reach all kinds of operation and every kind of fault, and break nothing."""
    reached = SOUND.explore(range(60), twice={0, 30})

    assert reached.broken is None
    assert reached.seeds == 60
    assert reached.twice == 2
    assert set(reached.faults) == {"crash", "power-loss", "cut-request", "cut-answer"}
    assert [verb for verb in SOUND.family.verbs if not reached.accepted[verb]] == []
    assert reached.races > 100


@pytest.mark.parametrize(
    ("defect", "promises", "most"),
    [
        ("seats-race", {"SEA-001"}, 3),
        ("lease-never-ends", {"SEA-002", "SEA-003"}, 5),
        ("seats-leak-on-restart", {"SEA-002", "SEA-003"}, 7),
        ("idempotency-race", {"IDM-001"}, 4),
    ],
)
def test_a_planted_defect_is_found_and_made_small(defect: str, promises: set[str], most: int) -> None:
    """The first broken promise is that of the defect, and a handful of steps show it."""
    explorer = replace(SOUND, target=simulated(defect))
    broken = explorer.explore(range(1, 200)).broken
    assert broken is not None

    found = explorer.shrunk(*broken)

    assert found.violation.promise == broken[1]
    assert found.violation.promise in promises
    assert len(found.history.plan) <= most
    again = explorer.shrunk(*broken)
    assert again.history.digest() == found.history.digest()


def test_a_target_with_chance_of_its_own_is_no_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two histories of one seed are an error of the run, which names the seed."""
    from reference_server.composition import simulated as honest

    starts = itertools.count()

    def moody(clock: Any, entropy: Any, keys: Any, store: Any, **options: Any) -> Any:
        start = next(starts)
        return honest(clock, lambda size: bytes([start % 256]) + entropy(size)[1:], keys, store, **options)

    module = ModuleType("moody_target")
    module.simulated = moody  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "moody_target", module)
    explorer = replace(SOUND, target=simulated().replace("reference_server.composition", "moody_target"))

    with pytest.raises(Unequal, match="seed 4 made two different histories"):
        explorer.explore([4], twice={4})


def test_any_number_of_processes_finds_the_same() -> None:
    """The lowest seed that breaks a promise is the answer, on one process and on two."""
    explorer = replace(SOUND, target=simulated("seats-race"))
    answers = []
    for jobs in (1, 2):
        reached = Reached()
        explore_all(explorer, range(1, 41), jobs=jobs, say=lambda _: None, reached=reached)
        answers.append(reached.broken)

    assert answers[0] == answers[1]
    assert answers[0] is not None
    assert answers[0] == explorer.explore(range(1, 41)).broken


def test_the_command_leaves_a_case_that_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``explore`` prints what broke, and its case breaks the same promise when it is replayed."""
    monkeypatch.chdir(tmp_path)

    code = cli._main(["explore", "--seed", "1", "--seeds", "100", "--jobs", "1", "--defect", "seats-race"])

    said = capsys.readouterr().out
    assert code == 1, said
    assert "SEA-001 never more holders than seats" in said
    assert "licensing-harness explore --seeds 1 --seed " in said
    (case,) = (tmp_path / ".licensing" / "runs").glob("*/cases/SEA-001-*.json")
    assert f"licensing-harness replay {case.stem}" in said
    assert msgspec.json.decode(case.read_bytes())["settings"] == {"defect": "seats-race"}
    assert not (tmp_path / ".licensing" / "runs" / "latest").exists()

    assert cli._main(["replay", case.stem]) == 1
    assert "SEA-001 is broken again" in capsys.readouterr().out


def test_a_run_that_tried_too_little_is_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One short story breaks nothing and proves nothing."""
    monkeypatch.chdir(tmp_path)

    code = cli._main(["explore", "--seed", "1", "--seeds", "1", "--steps", "1", "--jobs", "1"])

    assert code == 10
    assert "too little was tried: nothing is proved" in capsys.readouterr().out
    assert not (tmp_path / ".licensing").exists()


def test_a_self_check_tells_every_seed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--self-check`` tells all seeds twice, and says that they came out the same."""
    monkeypatch.chdir(tmp_path)

    cli._main(["explore", "--seed", "1", "--seeds", "12", "--jobs", "2", "--self-check"])

    assert "12 seeds told twice, with equal histories" in capsys.readouterr().out


def test_an_interrupted_run_says_what_was_done(tmp_path: Path) -> None:
    """Ctrl-C ends the processes, and what was judged by then is told."""
    command = [sys.executable, "-m", "licensing_harness", "explore", "--seed", "1", "--seeds", "1000000", "--jobs", "2"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = list(itertools.islice(process.stdout, 2))
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)

    assert "of 1,000,000 seeds" in lines[1]
    assert "no promise was broken in them (exit 2)" in rest
    assert "Traceback" not in rest
    assert process.returncode == 2


def test_a_process_that_dies_is_an_error_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that takes its process with it leaves no seed unjudged in silence."""
    (tmp_path / "deadly.py").write_text("import os\n\n\ndef simulated(*_, **__):\n    os._exit(9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    explorer = replace(SOUND, target="asgi:deadly:simulated")

    with pytest.raises(HarnessError, match="a process that explored died"):
        explore_all(explorer, range(1, 5), jobs=1, say=lambda _: None, reached=Reached())


def test_what_a_process_finds_wrong_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors cross from the processes with their kind, and name the seed."""
    (tmp_path / "refuser.py").write_text(
        "def simulated(clock, entropy, keys, store, **options):\n    raise ValueError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    explorer = replace(SOUND, target="asgi:refuser:simulated")

    with pytest.raises(UsageError, match=r"refused its options: no \(in the story of seed 1\)"):
        explore_all(explorer, range(1, 5), jobs=1, say=lambda _: None, reached=Reached())


def test_the_adapter_gets_the_secrets_of_the_user() -> None:
    """A secret that the user set reaches the adapter, and is in no history."""
    seen: list[str] = []

    class Curious(ReferenceAdapter):
        def open(self, target: Target) -> None:
            super().open(target)
            seen.append(target.secret("colour"))

    history = replace(SOUND, adapter=Curious, secrets={"colour": "ultramarine"}).told(1)

    assert set(seen) == {"ultramarine"}
    assert "ultramarine" not in repr(history)


def test_clients_have_the_names_that_stories_know() -> None:
    """Every client of a plan is the vendor or a device."""
    clients = {step["client"] for seed in range(30) for step in SOUND.family.plan(seed) if "client" in step}

    assert clients == {"vendor", *DEVICES}
