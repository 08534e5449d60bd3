"""Drawn stories: a seed is a story, stories are told and judged, and what breaks a promise gets small."""

from __future__ import annotations

import gc
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
from licensing_harness.checkers.judge import promise
from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.generate.draw import Family
from licensing_harness.generate.draw_faults import drawn, kinds_for
from licensing_harness.generate.explore import Explorer, Reached, Unequal
from licensing_harness.generate.shrink import CALM, Plan, described, smallest
from licensing_harness.generate.workers import explore_all
from licensing_harness.target.adapter import Target
from licensing_harness.target.reference import ReferenceAdapter, simulated
from licensing_harness.vocabulary import Cap, Contract, FaultKind
from licensing_harness.worlds.loop import NodeLoop
from licensing_harness.worlds.story import DEVICES
from reference_server.defects import DEFECTS

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
    """Without one decision, the plan is the same plan without its steps.

    Not so where licences or cuts are what goes, for others speak of them; nor
    where the only fault goes, for whose end a story waits.
    """
    whole = SOUND.family.plan(seed, 20)
    for index in range(20):
        rest = SOUND.family.plan(seed, 20, left_out={index})
        gone = len(whole) - len(rest)
        fewer = [at for at in range(len(whole)) if [*whole[:at], *whole[at + gone :]] == rest]
        if _spoken_of(rest) == _spoken_of(whole):
            assert fewer, index


def _spoken_of(plan: list[dict[str, Any]]) -> tuple[int, list[Any], bool]:
    words = [step["do"] for step in plan]
    return words.count("fresh_licence"), [step for step in plan if step["do"] == "cut_next"], "fault" in words


def test_a_target_is_asked_for_no_more_than_it_can_do() -> None:
    """Verbs, faults of processes and leases follow the capabilities and the numbers that are stated."""
    family = Family({Cap.ISSUE, Cap.VALIDATE}, Contract())
    plans = [step for seed in range(40) for step in family.plan(seed)]

    assert {step["verb"] for step in plans if "verb" in step} == {"issue", "validate"}
    assert family.verbs == ("issue", "validate")
    assert not [step for step in plans if step["do"] == "crash" or step.get("kind") in {"crash", "pause"}]
    assert not [step for step in plans if step["do"] == "advance" and step["seconds"] == 2.2]


def test_the_sound_server_is_not_accused() -> None:
    """Some seeds reach all kinds of operation and every kind of fault, and break nothing."""
    reached = SOUND.explore(range(160), twice={0, 30})

    assert reached.broken is None
    assert reached.seeds == 160
    assert reached.twice == 2
    assert [verb for verb in SOUND.family.verbs if not reached.accepted[verb]] == []
    assert {kind for kind, count in reached.met.items() if count} == {
        kind.value for kind in kinds_for(SOUND.capabilities)
    }
    assert reached.races > 100


def test_every_kind_of_the_simulated_world_is_drawn() -> None:
    """What the world can do is in the table, with numbers that a fault plan takes."""
    table = drawn(ReferenceAdapter.contract)

    assert set(table) == {kind.fault for kind in KINDS.values() if not kind.not_simulated}
    for kind, of in table.items():
        known = KINDS[kind.value].parameters
        assert set(of.parameters) <= set(known), kind
        assert {name for name, each in known.items() if each.required} <= {
            name for name, values in of.parameters.items() if None not in values
        }, kind
        assert of.streams == ("",) or KINDS[kind.value].stream
        for name, values in of.parameters.items():
            numbers = [value for value in values if value is not None]
            assert all(known[name].least <= each <= known[name].most for each in numbers), (kind, name)
            assert not known[name].whole or all(isinstance(each, int) for each in numbers), (kind, name)
            assert not known[name].choices or set(numbers) <= set(known[name].choices)


def test_stories_are_calm_or_have_one_fault_or_many() -> None:
    """Each mood is told often enough, and two faults are on at once in some stories."""
    counts = [sum(step["do"] == "fault" for step in SOUND.family.plan(seed)) for seed in range(200)]

    assert sum(count == 0 for count in counts) > 40
    assert sum(count == 1 for count in counts) > 10
    assert sum(count > 4 for count in counts) > 40


def test_a_calm_story_has_nothing_go_wrong() -> None:
    """``calm`` leaves out every fault, cut and crash, and what is left out by its kind is not drawn."""
    calm = replace(SOUND, calm=True)
    without = replace(SOUND, without=frozenset({FaultKind.STORE_GONE}))

    def words(explorer: Explorer) -> set[str]:
        return {step.get("kind", step["do"]) for seed in range(120) for step in explorer.family.plan(seed)}

    assert not words(calm) & {"fault", "cut_next", "crash", *FaultKind}
    assert calm.family.faults == {}
    assert words(SOUND) - words(without) == {"store-gone"}


def test_a_kind_of_fault_that_nothing_met_is_missing() -> None:
    """A run says of each kind that it drew in vain, and of each that it never drew."""
    reached = SOUND.explore(range(4))
    reached.met["pause"], reached.faults["pause"] = 0, 3
    reached.met["store-gone"], reached.faults["store-gone"] = 0, 0

    missing = SOUND.missing(reached)

    assert "pause was set 3 times and never met" in missing
    assert "no store-gone was ever set" in missing


@pytest.mark.parametrize(
    ("defect", "most"),
    [
        ("seats-race", 3),
        ("lease-never-ends", 5),
        ("seats-leak-on-restart", 6),
        ("idempotency-race", 3),
        ("slow-commit-answered", 5),
    ],
)
def test_a_planted_defect_is_found_and_made_small(defect: str, most: int) -> None:
    """It breaks its own promise, and a handful of steps show it."""
    own = DEFECTS[defect].promise
    explorer = replace(SOUND, target=simulated(defect), promises=(promise(own),))
    broken = explorer.explore(range(1, 400)).broken
    assert broken is not None

    found = explorer.shrunk(*broken)

    assert found.violation.promise == broken[1] == own
    assert len(found.history.plan) <= most
    again = explorer.shrunk(*broken)
    assert again.history.digest() == found.history.digest()


@pytest.mark.parametrize("defect", ["lease-never-ends", "seats-leak-on-restart"])
def test_what_several_seeds_find_gets_one_form(defect: str) -> None:
    """Stories with all kinds of faults and operations around it come down to the same few steps."""
    explorer = replace(SOUND, target=simulated(defect), promises=(promise(DEFECTS[defect].promise),))
    forms: list[str] = []
    first = 1
    for _ in range(2):
        broken = explorer.explore(range(first, 400)).broken
        assert broken is not None
        first = broken[0] + 1
        forms.append(described(explorer.shrunk(*broken).history.plan))

    assert forms[0] == forms[1]


def test_a_fault_is_made_shorter_and_plainer_together_with_the_operations() -> None:
    """Its time, its numbers and its kind become the plainest that still do; what it does not need is left out."""
    plan: list[dict[str, Any]] = [
        {"do": "fault", "kind": "latency", "seconds": 2.2, "stream": "upstream", "parameters": {"latency": 2200}},
        {"do": "fresh_licence", "seats": 3, "features": ["base"]},
        {"do": "contend", "verb": "validate", "licence": "L1"},
        {
            "do": "fault",
            "kind": "duplicate",
            "seconds": 1.0,
            "stream": "",
            "parameters": {"delay": 300, "every": 2},
        },
        {"do": "fault", "kind": "power-loss", "seconds": 1.0},
        {"do": "fault", "kind": "store-gone", "seconds": 1.0},
        {"do": "start", "client": "tablet", "verb": "activate", "licence": "L1"},
    ]

    def breaks(shorter: Plan, _: str) -> bool:
        kinds = {step.get("kind", step["do"]): step for step in shorter}
        doubled = kinds.get("duplicate", {"seconds": 0})
        return (
            doubled["seconds"] >= 0.3
            and doubled.get("parameters", {}).get("delay", 0) >= 20
            and bool({"crash", "power-loss"} & set(kinds))
            and bool({"store-full", "store-gone"} & set(kinds))
            and "activate" in [step.get("verb") for step in shorter]
        )

    small, _ = smallest(plan, CALM, breaks, table=SOUND.family.faults)

    assert small == [
        {"do": "fresh_licence", "seats": 1, "features": ["base"]},
        {"do": "fault", "kind": "duplicate", "seconds": 0.3, "parameters": {"delay": 20}},
        {"do": "fault", "kind": "store-full", "seconds": 0.05},
        {"do": "start", "client": "laptop", "verb": "activate", "licence": "L1"},
        {"do": "crash", "power": False},
    ]


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
    assert "faults met, of those set: " in said
    assert not (tmp_path / ".licensing" / "runs" / "latest").exists()

    assert cli._main(["replay", case.stem]) == 1
    assert "SEA-001 is broken again" in capsys.readouterr().out


def _alive() -> int:
    """Simulated processes that nobody ended."""
    return sum(isinstance(each, NodeLoop) and not each.dead for each in gc.get_objects())


def test_a_case_with_faults_replays_and_says_where_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The small story's faults are told again; a kind or a parameter that there is none of is named with its step."""
    monkeypatch.chdir(tmp_path)
    asked = ["explore", "--seed", "1", "--seeds", "400", "--jobs", "1", "--defect", "slow-commit-answered"]
    assert cli._main([*asked, "--only", "VAL-004"]) == 1
    (path,) = (tmp_path / ".licensing" / "runs").glob("*/cases/VAL-004-*.json")
    case = msgspec.json.decode(path.read_bytes())
    capsys.readouterr()

    assert cli._main(["replay", path.stem]) == 1
    assert "VAL-004 is broken again" in capsys.readouterr().out

    at = next(number for number, step in enumerate(case["plan"], start=1) if step["do"] == "fault")
    for change, said in (
        ({"kind": "store-slowly"}, "'store-slowly' is no kind of fault; did you mean 'store-slow'?"),
        ({"parameters": {"delays": 300}}, "unknown parameter 'delays'; did you mean 'delay'?"),
        ({"parameters": {}}, "store-slow needs 'delay', a number of milliseconds"),
        ({"place": "cellar"}, "unknown store 'cellar'"),
        ({"secs": 1}, "can't be read: "),
    ):
        plan = [{**step, **change} if number == at else step for number, step in enumerate(case["plan"], start=1)]
        path.write_bytes(msgspec.json.encode({**case, "plan": plan}))

        lived = _alive()
        assert cli._main(["replay", str(path)]) == 4
        assert _alive() == lived, "a story that was given up leaves no process behind"

        error = capsys.readouterr().err
        assert f"step {at} of the plan of case {path.stem}" in error, error
        assert said in error, error


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--without", "store-ful"], "--without store-ful: no kind of fault that explore draws; did you mean"),
        (["--without", "store-locked"], "--without store-locked: no kind of fault that explore draws"),
        (["--only", "seats"], "--only seats: explore judges by promises; "),
    ],
)
def test_a_name_that_is_none_is_refused(asked: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is told."""
    assert cli._main(["explore", "--seed", "1", "--seeds", "1", *asked]) == 4

    assert said in capsys.readouterr().err


def test_what_was_found_names_how_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that finds it again has the options that drew the story."""
    monkeypatch.chdir(tmp_path)

    asked = ["--only", "SEA", "--without", "pause", "--without", "latency"]
    cli._main(["explore", "--seed", "1", "--seeds", "100", "--jobs", "1", "--defect", "seats-race", *asked])

    said = capsys.readouterr().out
    assert "--defect seats-race --only SEA --without latency --without pause" in said
    (again,) = [line for line in said.splitlines() if line.startswith("  explore ")]
    assert cli._main(again.split()[2:]) == 1
    assert "breaks SEA-" in capsys.readouterr().out


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
