"""Drills: what is refused when one is read, and what is measured in a history."""

from __future__ import annotations

from typing import Any

import pytest

from licensing_harness.commands.drill import shipped
from licensing_harness.errors import UsageError
from licensing_harness.generate.drill import Expect
from licensing_harness.generate.drill_file import read_drill
from licensing_harness.generate.drill_measures import Measured, phases, recoveries, rehearsed
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.options import BY_NAME
from licensing_harness.verdict import Exit, Verdict, worst
from licensing_harness.vocabulary import FaultKind, Outcome

SOUND = """
title = "Slow wire"
[[steady]]
measure = "accepted-share"
at_least = 0.9
[[fault]]
kind = "latency"
link = "clients->server"
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


def story(
    *operations: Operation,
    fault: tuple[float, float | None] = (1.0, 2.0),
    kind: FaultKind = FaultKind.LATENCY,
    met: int = 1,
    **more: Any,
) -> StoryHistory:
    begin, end = fault
    return StoryHistory(
        complete=True,
        **more,
        story="s",
        world="live",
        scenario="drill/x",
        operations=list(operations),
        faults=[Fault(n=99, story="s", fault=kind, begin=begin, end=end, where="wire", met=met)],
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
        ('title = "Slow wire"', "", 'slow.toml: title is missing, as in title = "Answers'),
        ('title = "Slow wire"', 'title = " "', 'slow.toml:2: title is missing, as in title = "Answers'),
        ('title = "Slow wire"', 'title = "x"\nload = 3', "slow.toml:3: [load]: a table is needed here, not 3"),
        ('title = "Slow wire"', 'title = "x"\nfualt = 3', "slow.toml:3: unknown key 'fualt'; did you mean 'fault'?"),
        ('title = "Slow wire"', 'title = "x"\n\ntries = 3', "slow.toml:4: tries: give ids of promises, as in tries"),
        ('title = "Slow wire"', 'title = "x"\ntries = ["SEA-1"]', "slow.toml:3: tries: give ids of promises"),
        ('title = "Slow wire"', 'title = "x"\nworld = "livee"', "slow.toml:3: world = 'livee' is none; did you mean"),
        (
            'title = "Slow wire"',
            'title = "x"\ntarget = {taget = "x"}',
            "slow.toml:3: [target]: unknown key 'taget'; did",
        ),
        ('title = "Slow wire"', 'title = "x"\nload = {rate = 0}', "slow.toml:3: [load]: rate = 0: give a number from"),
        ('title = "Slow wire"', 'title = "x"\n[load]\nrate = nan', "slow.toml:4: [load]: rate = nan: give a number"),
        ('title = "Slow wire"', 'title = "x"\n[load]\nherd = 1', "slow.toml:4: [load]: herd = 1: give true or false"),
        (
            'title = "Slow wire"',
            'title = "x"\n[load]\nclients = 501',
            "slow.toml:4: [load]: clients = 501: give a whole number from 1 to 500",
        ),
        (
            'title = "Slow wire"',
            'title = "x"\nload = {verbs = {validate = 0}}',
            "slow.toml:3: [load]: verbs: at least one verb must have a weight above 0",
        ),
        (
            'title = "Slow wire"',
            'title = "x"\n[load]\nrate = 1\n[load.verbs]\nvaldate = 1',
            "slow.toml:5: [load]: verbs: unknown key 'valdate'; did you mean 'validate'?",
        ),
        (
            'title = "Slow wire"',
            'title = "x"\n[stop]\n# not so\nseconds = 0',
            "slow.toml:5: [stop]: seconds = 0: give a number from 1",
        ),
        ('kind = "latency"', "", "slow.toml:6: a fault needs a 'kind', such as kind"),
        ('kind = "latency"', 'kind = "latncy"', "slow.toml:7: unknown kind 'latncy'; did you mean 'latency'?"),
        ("end = 2", "", "slow.toml:7: latency needs 'end'"),
        ("end = 2", "end = 1", "slow.toml:10: end: 1 is not after the start, 1"),
        ("latency = 100", "latency = 1\ntimeout = 1", "slow.toml:12: unknown key 'timeout'"),
        ('"clients->server"', '"phone->server"', "slow.toml:8: unknown link 'phone->server'"),
        ('kind = "latency"', 'kind = "bandwidth"\nrate = 9', "slow.toml:12: unknown key 'latency'"),
        ("latency = 100", "", "slow.toml:7: latency needs 'latency'"),
        (
            "latency = 100",
            'latency = 1\n[[fault]]\nkind = "crash"\nnode = "sever"\nat = 1',
            "slow.toml:14: unknown node 'sever'; did you mean 'server'?",
        ),
        (
            "latency = 100",
            'latency = 1\n[[fault]]\nkind = "latency"\nlink = "clients->server"\nstart = 1.5\nend = 3\nlatency = 1',
            "latency on clients->server overlaps fault 1",
        ),
        ("at_least = 0.9", "", "slow.toml:3: [[steady]] 1: give at_least or at_most, or both"),
        ("at_least = 0.9", 'at_least = "0.9"', "slow.toml:5: [[steady]] 1: at_least = '0.9': give a number from 0"),
        ('"accepted-share"', '"recovery"', "slow.toml:4: [[steady]] 1: recovery is measured after the faults"),
        (
            'phase = "during"',
            'phase = "durin"',
            "slow.toml:13: [[expect]] 1: phase = 'durin' is none; did you mean 'during'?",
        ),
        ('phase = "during"', "", "slow.toml:12: [[expect]] 1: phase is missing; choose from before, during"),
        ("[[expect]]", "[expect]", "slow.toml:16: no TOML"),
    ],
)
def test_what_can_t_be_read_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    """One line: the file, the place, what is wrong, and what would do."""
    assert old in SOUND
    with pytest.raises(UsageError) as refused:
        read_drill(SOUND.replace(old, new, 1) if old != "[[expect]]" else SOUND.replace(old, new), "slow.toml", BY_NAME)

    assert message in str(refused.value)
    assert str(refused.value).startswith("slow.toml:")
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
        call(6, 3.0, 3.1, Outcome.ACCEPTED),
        clean_up=6,
    )

    found = phases(told)

    numbers = {phase: [each.n for each in calls] for phase, calls in found.items()}
    assert numbers == {"before": [1], "during": [2, 3, 4], "after": [5], "clean-up": [6]}


def test_a_fault_without_an_end_leaves_no_after() -> None:
    """What was not seen to end may still be on."""
    found = phases(story(call(1, 5.0, 5.1, Outcome.ACCEPTED), fault=(1.0, None)))

    assert [each.n for each in found["during"]] == [1]
    assert found["after"] == []


def test_recovery_is_the_first_yes_to_a_call_begun_after_the_fault() -> None:
    """By client; one that was called and never served is None, and a late answer to an early call does not count."""
    told = story(
        call(1, 1.9, 2.5, Outcome.ACCEPTED),
        call(2, 2.6, 2.7, Outcome.UNKNOWN),
        call(3, 2.8, 2.9, Outcome.ACCEPTED),
        call(4, 2.2, 2.3, Outcome.UNKNOWN, "phone"),
        call(5, 3.0, 3.1, Outcome.ACCEPTED, "phone"),
        clean_up=5,
    )

    assert recoveries(told) == {"laptop": 0.9, "phone": None}


def test_each_expectation_is_held_broken_or_undecided() -> None:
    """Within the limit, beyond it, and without a sample: zero samples are not a pass."""
    drill = read_drill(SOUND, "slow.toml")
    good = story(
        call(1, 0.5, 0.6, Outcome.ACCEPTED),
        call(2, 1.5, 1.6, Outcome.UNKNOWN),
        call(3, 2.5, 2.6, Outcome.ACCEPTED),
        call(4, 3.0, 3.1, Outcome.ACCEPTED),
        clean_up=4,
    )
    bad = story(
        call(1, 0.5, 0.6, Outcome.UNKNOWN),
        call(2, 1.5, 1.6, Outcome.REFUSED),
        call(3, 2.5, 9.6, Outcome.UNKNOWN),
    )

    def verdicts(told: StoryHistory) -> dict[str, Verdict]:
        return {each.expect.name: each.verdict for each in rehearsed(drill, told).expectations}

    assert set(verdicts(good).values()) == {Verdict.HELD}
    assert rehearsed(drill, good).codes == [0] * 5
    assert verdicts(bad)["during: refused at most 0"] is Verdict.BROKEN
    assert verdicts(bad)["before: accepted-share at least 0.9"] is Verdict.BROKEN
    assert verdicts(bad)["after: recovery at most 1.5"] is Verdict.BROKEN
    assert verdicts(bad)["clean-up: accepted-share at least 0.9"] is Verdict.UNDECIDED
    assert set(verdicts(story()).values()) == {Verdict.UNDECIDED}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"met": 0}, "set, and never met by traffic: latency"),
        ({"kind": FaultKind.TIMEOUT}, "planned and never set: latency"),
        ({"not_run": "no wire"}, "not run: no wire"),
        ({"called_off": "too long"}, "called off: too long"),
    ],
)
def test_a_drill_without_its_fault_is_undecided(more: dict[str, Any], said: str) -> None:
    """Every expectation is met, and still nothing was rehearsed: 10."""
    drill = read_drill(SOUND, "slow.toml")
    calls = [call(n, n - 0.5, n - 0.4, Outcome.ACCEPTED) for n in range(1, 5)]

    found = rehearsed(drill, story(*calls, clean_up=4, **more))

    assert found.notes == (said,)
    assert worst(found.codes) == Exit.UNDECIDED


def test_a_kind_that_was_not_set_has_its_reason() -> None:
    """So that the table of faults and promises can say why it was not tried."""
    drill = read_drill(SOUND, "slow.toml")

    found = rehearsed(drill, story(kind=FaultKind.TIMEOUT, not_run="no wire"))

    assert found.not_set == {"latency": "no wire"}


def test_a_client_watched_too_shortly_is_undecided() -> None:
    """It was not served, and nobody looked for as long as it may take."""
    drill = read_drill(SOUND, "slow.toml")
    told = story(call(1, 0.5, 0.6, Outcome.ACCEPTED), call(2, 2.5, 2.6, Outcome.UNKNOWN))

    found = {each.expect.name: each for each in rehearsed(drill, told).expectations}

    assert found["after: recovery at most 1.5"].verdict is Verdict.UNDECIDED


def test_a_percentile_of_few_calls_is_not_measured() -> None:
    """Below twenty samples it would be just the longest."""
    drill = read_drill(SOUND.replace('measure = "refused"', 'measure = "p95"'), "slow.toml")
    calls = [call(n, 1.0 + n / 100, 1.0 + n / 100 + 0.001 * n, Outcome.ACCEPTED) for n in range(1, 21)]

    def p95(count: int) -> Measured:
        found = rehearsed(drill, story(*calls[:count]))
        return next(each for each in found.expectations if each.expect.measure == "p95")

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
