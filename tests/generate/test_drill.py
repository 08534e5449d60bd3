"""Drills: what is refused when one is read, and what is measured in a history."""

from __future__ import annotations

import pytest

from licensing_harness.commands.drill import shipped
from licensing_harness.errors import UsageError
from licensing_harness.generate.drill import Expect, Measured, measured, phases, read_drill, recoveries
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.verdict import Verdict
from licensing_harness.vocabulary import FaultKind, Outcome

SOUND = """
title = "Slow wire"
[[steady]]
measure = "accepted-share"
at_least = 0.9
[[fault]]
kind = "latency"
start = 1
end = 2
latency = 100
[[expect]]
phase = "during"
measure = "refused"
at_most = 0
[[expect]]
phase = "after"
measure = "recovery"
at_most = 1.5
"""


def call(n: int, begin: float, end: float | None, outcome: Outcome, client: str = "laptop") -> Operation:
    return Operation(
        n=n, story="s", client=client, verb="validate", begin=begin, end=end, outcome=outcome, licence="L1"
    )


def story(*operations: Operation, fault: tuple[float, float | None] = (1.0, 2.0)) -> StoryHistory:
    begin, end = fault
    return StoryHistory(
        story="s",
        world="live",
        scenario="drill/x",
        operations=list(operations),
        faults=[Fault(n=99, story="s", fault=FaultKind.TIMEOUT, begin=begin, end=end, where="wire", met=1)],
    )


def test_the_drills_that_are_shipped_can_be_read() -> None:
    """Each has a steady state and ends within its own time limit."""
    assert len(shipped()) >= 3
    for path in shipped().values():
        drill = read_drill(path.read_text(encoding="utf-8"), path.name)

        assert drill.seconds < drill.stop.seconds
        assert drill.tries


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Slow wire"', "", 'title is missing, as in title = "Answers'),
        ('title = "Slow wire"', 'title = "x"\nload = 3', "[load]: a table is needed here, not 3"),
        ('title = "Slow wire"', 'title = "x"\nfualt = 3', "unknown key 'fualt'; did you mean 'fault'?"),
        ('title = "Slow wire"', 'title = "x"\ntries = 3', 'give ids of promises, as in tries = ["SEA-001"]'),
        ('title = "Slow wire"', 'title = "x"\nload = {rate = 0}', "[load]: rate = 0: give a number from 0.1 to 2000"),
        ('title = "Slow wire"', 'title = "x"\nload = {rate = nan}', "[load]: rate = nan: give a number"),
        (
            'title = "Slow wire"',
            'title = "x"\nload = {verbs = {validate = 0}}',
            "[load] verbs: at least one verb must have a weight above 0",
        ),
        (
            'title = "Slow wire"',
            'title = "x"\nload = {verbs = {valdate = 1}}',
            "[load] verbs: unknown key 'valdate'; did you mean 'validate'?",
        ),
        ('title = "Slow wire"', 'title = "x"\nstop = {seconds = 0}', "[stop]: seconds = 0: give a number from 1"),
        ('kind = "latency"', "", "[[fault]] 1: kind is missing; choose from latency, timeout"),
        ('kind = "latency"', 'kind = "latncy"', "[[fault]] 1: kind = 'latncy' is none; did you mean 'latency'?"),
        ("end = 2", "", "[[fault]] 1: end is missing"),
        ("end = 2", "end = 1", "[[fault]] 1: end = 1 is not after start = 1"),
        ("end = 2", 'end = "2"', "[[fault]] 1: end = '2': give a number from 0 to 3600"),
        ("latency = 100", "latency = 1.5", "[[fault]] 1: latency = 1.5: give a whole number, 0 or more"),
        ("latency = 100", "timeout = 100", "[[fault]] 1: unknown key 'timeout'"),
        (
            "latency = 100",
            'latency = 1\n[[fault]]\nkind = "latency"\nstart = 1.5\nend = 3',
            "[[fault]] 2: overlaps another latency downstream; join the two",
        ),
        ("at_least = 0.9", "", "[[steady]] 1: give at_least or at_most, or both"),
        ('"accepted-share"', '"recovery"', "[[steady]] 1: recovery is measured after the faults"),
        ('phase = "during"', 'phase = "durin"', "[[expect]] 1: phase = 'durin' is none; did you mean 'during'?"),
        ("[[expect]]", "[expect]", "no TOML"),
    ],
)
def test_what_can_t_be_read_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    """One line: the file, the place, what is wrong, and what would do."""
    assert old in SOUND
    with pytest.raises(UsageError) as refused:
        read_drill(SOUND.replace(old, new, 1) if old != "[[expect]]" else SOUND.replace(old, new), "slow.toml")

    assert message in str(refused.value)
    assert str(refused.value).startswith("slow.toml: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("section", "message"), [("[[fault]]", "no [[fault]]"), ("[[steady]]", "no [[steady]]")])
def test_a_drill_that_could_prove_nothing_is_refused(section: str, message: str) -> None:
    """Without a fault, or without a steady state to come back to."""
    parts = SOUND.split("[[")
    kept = "[[".join(part for part in parts if not f"[[{part}".startswith(section))

    with pytest.raises(UsageError, match=message.replace("[", r"\[").replace("]", r"\]")):
        read_drill(kept, "slow.toml")


def test_a_call_belongs_to_the_outage_that_it_met() -> None:
    """Begun before and still under way, begun within, or without an end: during. The rest is before or after."""
    told = story(
        call(1, 0.5, 0.6, Outcome.ACCEPTED),
        call(2, 0.9, 1.1, Outcome.ACCEPTED),
        call(3, 1.5, 1.6, Outcome.UNKNOWN),
        call(4, 0.7, None, Outcome.UNKNOWN),
        call(5, 2.1, 2.2, Outcome.ACCEPTED),
    )
    clean = story(call(1, 3.0, 3.1, Outcome.ACCEPTED))

    found = phases(told, clean)

    numbers = {phase: [each.n for each in calls] for phase, calls in found.items()}
    assert numbers == {"before": [1], "during": [2, 3, 4], "after": [5], "clean-up": [1]}


def test_a_fault_without_an_end_leaves_no_after() -> None:
    """What was not seen to end may still be on."""
    found = phases(story(call(1, 5.0, 5.1, Outcome.ACCEPTED), fault=(1.0, None)), None)

    assert [each.n for each in found["during"]] == [1]
    assert found["after"] == []


def test_recovery_is_the_first_yes_to_a_call_begun_after_the_fault() -> None:
    """By client; one that was called and never served is None, and a late answer to an early call does not count."""
    told = story(
        call(1, 1.9, 2.5, Outcome.ACCEPTED),
        call(2, 2.6, 2.7, Outcome.UNKNOWN),
        call(3, 2.8, 2.9, Outcome.ACCEPTED),
        call(4, 2.2, 2.3, Outcome.UNKNOWN, "phone"),
    )

    assert recoveries(told) == {"laptop": 0.9, "phone": None}


def test_each_expectation_is_held_broken_or_undecided() -> None:
    """Within the limit, beyond it, and without a sample: zero samples are not a pass."""
    drill = read_drill(SOUND, "slow.toml")
    good = story(
        call(1, 0.5, 0.6, Outcome.ACCEPTED),
        call(2, 1.5, 1.6, Outcome.UNKNOWN),
        call(3, 2.5, 2.6, Outcome.ACCEPTED),
    )
    bad = story(
        call(1, 0.5, 0.6, Outcome.UNKNOWN),
        call(2, 1.5, 1.6, Outcome.REFUSED),
        call(3, 2.5, 9.6, Outcome.UNKNOWN),
    )

    def verdicts(*stories: StoryHistory | None) -> dict[str, Verdict]:
        found = measured(drill, *stories)  # type: ignore[arg-type]
        return {each.expect.name: each.verdict for each in found}

    clean = story(call(1, 3.0, 3.1, Outcome.ACCEPTED))
    assert set(verdicts(good, clean).values()) == {Verdict.HELD}
    assert verdicts(bad, bad)["during: refused at most 0"] is Verdict.BROKEN
    assert verdicts(bad, bad)["before: accepted-share at least 0.9"] is Verdict.BROKEN
    assert verdicts(bad, bad)["after: recovery at most 1.5"] is Verdict.BROKEN
    assert verdicts(good, None)["clean-up: accepted-share at least 0.9"] is Verdict.UNDECIDED
    assert set(verdicts(story(), None).values()) == {Verdict.UNDECIDED}


def test_a_client_watched_too_shortly_is_undecided() -> None:
    """It was not served, and nobody looked for as long as it may take."""
    drill = read_drill(SOUND, "slow.toml")
    told = story(call(1, 0.5, 0.6, Outcome.ACCEPTED), call(2, 2.5, 2.6, Outcome.UNKNOWN))

    found = {each.expect.name: each for each in measured(drill, told, None)}

    assert found["after: recovery at most 1.5"].verdict is Verdict.UNDECIDED


def test_a_percentile_of_few_calls_is_not_measured() -> None:
    """Below twenty samples it would be just the longest."""
    drill = read_drill(SOUND.replace('measure = "refused"', 'measure = "p95"'), "slow.toml")
    calls = [call(n, 1.0 + n / 100, 1.0 + n / 100 + 0.001 * n, Outcome.ACCEPTED) for n in range(1, 21)]

    def p95(count: int) -> Measured:
        return next(each for each in measured(drill, story(*calls[:count]), None) if each.expect.measure == "p95")

    assert p95(19).value is None
    assert p95(20).value == pytest.approx(19.0)
    assert p95(20).as_threshold()["unit"] == "ms"


def test_both_limits_of_an_expectation_are_kept() -> None:
    """``at_least`` and ``at_most`` in one table are two expectations."""
    drill = read_drill(SOUND.replace("at_most = 0", "at_most = 3\nat_least = 1"), "slow.toml")

    during = [each for each in drill.expects if each.phase == "during"]

    assert [(each.sense, each.limit) for each in during] == [("at_least", 1.0), ("at_most", 3.0)]
    assert [each.met(0) for each in during] == [False, True]
    assert Expect(phase="during", measure="refused", limit=1, sense="at_most").name == "during: refused at most 1"
