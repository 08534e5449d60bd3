"""Where a timeline puts what: lanes, bars, bands, the window around the evidence."""

from __future__ import annotations

import itertools

import pytest
from conftest import operation  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.report.timeline import BANDS, LANES, LEFT, MOST, NARROWEST, RIGHT, Timeline, timeline
from licensing_harness.vocabulary import FaultKind, Outcome


def story(*operations: Operation, faults: tuple[Fault, ...] = ()) -> StoryHistory:
    return StoryHistory(
        story="s1", world="simulated", scenario="a::b", operations=list(operations), faults=list(faults), complete=True
    )


def fault(n: int, begin: float, end: float | None, where: str = "laptop") -> Fault:
    return Fault(n=n, story="s1", fault=FaultKind.CUT_ANSWER, begin=begin, end=end, where=where, met=1)


def drawn(found: StoryHistory, *evidence: int) -> Timeline:
    result = timeline(found, set(evidence))
    assert result is not None
    return result


def test_a_story_without_operations_has_no_timeline() -> None:
    """There is nothing to draw."""
    assert timeline(story(), {1}) is None


def test_a_lane_is_a_client_and_a_bar_an_operation() -> None:
    """In the order in which clients first spoke; overlapping calls stand side by side, in time."""
    found = drawn(
        story(
            operation(1, "vendor", "issue", 0.0, 0.1),
            operation(2, "phone", "activate", 0.2, 0.5),
            operation(3, "laptop", "activate", 0.3, 0.6, outcome=Outcome.REFUSED, reason="no-free-seat"),
        ),
        2,
        3,
    )

    assert [each.client for each in found.lanes] == ["vendor", "phone", "laptop"]
    issue, phone, laptop = found.bars
    assert [each.outcome for each in found.bars] == ["accepted", "accepted", "refused"]
    assert [each.evidence for each in found.bars] == [False, True, True]
    assert issue.x + issue.width < phone.x < laptop.x < phone.x + phone.width
    for lane, bar in zip(found.lanes, found.bars, strict=True):
        assert lane.y < bar.y < bar.y + bar.height < lane.y + lane.height
    assert "no-free-seat" in laptop.tip
    assert found.note == ""


def test_an_open_end_runs_on_to_the_clients_next_call_or_to_the_edge() -> None:
    """It may have taken effect at any time."""
    found = drawn(
        story(
            operation(1, "laptop", "activate", 0.0, None),
            operation(2, "laptop", "activate", 0.5, 0.6),
            operation(3, "phone", "activate", 0.2, None),
            operation(4, "vendor", "revoke", 0.9, 1.0),
        ),
        1,
        4,
    )
    first, second, last, _ = sorted(found.bars, key=lambda each: each.n)

    assert (first.open, second.open, last.open) == (True, False, True)
    assert first.outcome == "unknown"
    assert first.x + first.width == pytest.approx(second.x, abs=2)
    assert last.x + last.width == pytest.approx(RIGHT, abs=2)
    assert "no end seen" in first.tip


def test_a_long_story_is_cut_to_a_window_around_its_evidence_and_says_so() -> None:
    """Two calls of a thousand, with their neighbours."""
    calls = [operation(n, f"c{n % 3}", "validate", n * 1.0, n * 1.0 + 0.5) for n in range(1, 1001)]
    found = drawn(story(*calls, faults=(fault(2000, 3.0, 4.0), fault(2001, 500.5, 501.0))), 500, 501)

    numbers = {each.n for each in found.bars}
    assert {499, 500, 501, 502} <= numbers
    assert len(numbers) < 12
    assert [each.label for each in found.bands] == ["#2001 cut-answer laptop"]
    assert found.note.startswith(f"{len(numbers)} of 1000 operations and 1 of 2 faults of the story are drawn")


def test_evidence_far_apart_still_draws_no_more_than_the_cap() -> None:
    """Both ends are drawn, and what is next to them."""
    calls = [operation(n, f"c{n % 40}", "validate", n * 1.0, n * 1.0 + 0.5) for n in range(1, 1001)]
    faults = tuple(fault(2000 + n, n * 1.0, None) for n in range(50))
    found = drawn(story(*calls, faults=faults), 1, 1000)

    assert {1, 1000} <= {each.n for each in found.bars}
    assert len(found.bars) <= MOST
    assert len(found.lanes) <= LANES
    assert len(found.bands) == BANDS
    assert found.note


def test_fault_names_do_not_cover_each_other() -> None:
    """Faults at the same time have their names in different lines, above the lanes."""
    faults = (fault(5, 0.1, 0.2), fault(6, 0.11, 0.3, "phone"), fault(7, 0.9, None, "x" * 200))
    found = drawn(story(operation(1, "laptop", "validate", 0.0, 1.0), faults=faults), 1)

    first, second, third = found.bands
    assert first.label_y != second.label_y
    assert third.x + third.width == pytest.approx(RIGHT, abs=3)
    assert len(third.label) <= 40
    assert all(each.label_y < found.top for each in found.bands)


def test_a_label_stands_in_its_bar_or_beside_it_or_nowhere() -> None:
    """It covers no other bar; the number of evidence stands above the bar, not in it."""
    found = drawn(
        story(
            operation(1, "vendor", "issue", 0.0, 0.4),
            operation(2, "laptop", "validate", 0.0, 0.001),
            operation(3, "laptop", "validate", 0.01, 0.02),
            operation(4, "laptop", "heartbeat", 0.03, 1.0),
        ),
        4,
    )
    issue, short, beside, last = sorted(found.bars, key=lambda each: each.n)

    assert issue.label == "#1 issue L1"
    assert issue.x < issue.label_x < issue.x + issue.width
    assert short.label == ""
    assert beside.y != short.y
    assert beside.label == "#3 validate L1"
    assert beside.label_x > beside.x + beside.width
    assert last.label == "heartbeat L1"


def test_the_drawing_is_told_in_words() -> None:
    """For whoever can't see it: when, who, what, and what was done to the wire."""
    found = drawn(
        story(operation(1, "laptop", "activate", 0.0, 0.1), faults=(fault(2, 0.05, 0.06),)),
        1,
    )

    assert found.summary == (
        "1 operation in 1 lane, one for each client, from 0.000 s to 0.100 s. Evidence: #1 laptop activate accepted. "
        "Faults: cut-answer laptop."
    )


times = st.floats(min_value=0, max_value=1e5, allow_nan=False)


@st.composite
def stories(draw: st.DrawFn) -> StoryHistory:
    count = draw(st.integers(1, 90))
    calls = []
    for n in range(1, count + 1):
        begin = draw(times)
        end = draw(st.none() | times.map(lambda more, begin=begin: begin + more))
        calls.append(operation(n, draw(st.sampled_from("abcdefghijklmnop")), draw(st.text(max_size=50)), begin, end))
    faults = tuple(
        fault(count + n, begin, end)
        for n, begin, end in draw(st.lists(st.tuples(st.integers(1, 20), times, st.none()), max_size=20))
    )
    return story(*calls, faults=faults)


@settings(max_examples=60, deadline=None)
@given(stories(), st.sets(st.integers(1, 100), max_size=6))
def test_nothing_leaves_the_drawing_and_no_bar_covers_another(found: StoryHistory, evidence: set[int]) -> None:
    """Whatever the story: bars stand between the edges, in their lanes, with room for the sign of their outcome."""
    result = timeline(found, evidence)

    assert result is not None
    assert result.bars
    assert len(result.bars) <= MOST
    assert all(LEFT <= each.x <= RIGHT for each in (*result.bars, *result.bands, *result.ticks))
    assert all(each.x + each.width <= RIGHT + 3 for each in (*result.bars, *result.bands))
    assert all(each.width >= NARROWEST for each in result.bars)
    assert all(result.top < each.y < result.bottom <= result.height for each in result.bars)
    assert 1 <= len(result.ticks) <= 12
    for one, two in itertools.combinations(result.bars, 2):
        if one.y == two.y:
            assert one.x + one.width <= two.x or two.x + two.width <= one.x
