"""A drill on the terminal and on the page."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import pytest
from conftest import operation  # type: ignore[import-not-found]
from rich.console import Console

from licensing_harness.generate.drill_file import stored_drill
from licensing_harness.generate.drill_measures import rehearsed
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.report.drillchart import LANES, RIGHT, DrillChart, drill_chart
from licensing_harness.report.drillview import DrillView
from licensing_harness.report.html import report_html
from licensing_harness.report.matrix import matrix_table
from licensing_harness.report.stepsummary import step_summary
from licensing_harness.verdict import CellResult, FaultResult, PromiseResult, RunResult, Verdict
from licensing_harness.vocabulary import FaultKind, Outcome
from licensing_harness.worlds.breaking import FaultOn, Wanted

DRILL = stored_drill(
    {
        "title": "A <b>wire</b>",
        "steady": [{"measure": "accepted-share", "at_least": 0.9}],
        "fault": [{"kind": "timeout", "link": "clients->server", "start": 0, "end": 1}],
        "expect": [{"phase": "during", "measure": "refused", "at_most": 0}],
    },
    "it",
)


def told(clients: int = 3) -> StoryHistory:
    operations = []
    for number in range(10 * clients):
        at = number / clients / 2
        outcome = Outcome.UNKNOWN if 2 <= at < 3 else Outcome.REFUSED if number == 1 else Outcome.ACCEPTED
        operations.append(
            Operation(
                n=number + 1,
                story="s",
                client=f"c{number % clients}",
                verb="validate",
                begin=at,
                end=None if outcome is Outcome.UNKNOWN and number % 2 else at + 0.1,
                outcome=outcome,
                licence="L1",
            )
        )
    faults = [
        Fault(
            n=900 + turn,
            story="s",
            fault=FaultKind.TIMEOUT,
            begin=2 + turn / 2,
            end=2.4 + turn / 2,
            where="wire",
            met=1,
        )
        for turn in range(2)
    ]
    return StoryHistory(
        story="s",
        world="live",
        scenario="drill/x",
        operations=operations,
        faults=faults,
        clean_up=10 * clients - clients + 1,
        complete=True,
    )


def chart(story: StoryHistory) -> DrillChart:
    drawn = drill_chart(story, rehearsed(DRILL, story).recovered)
    assert drawn is not None
    return drawn


def test_every_call_is_drawn_by_shape_and_every_client_has_its_recovery() -> None:
    """A stroke, a cross or a box for each call; a mark where the client was served again."""
    drawn = chart(told())

    counts = {"accepted": 0, "refused": 0, "unknown": 0}
    signs = {"accepted": "v12", "refused": "l6 8", "unknown": "h5v5"}
    for lane in drawn.lanes:
        for path in lane.paths:
            counts[path.outcome] += path.d.count(signs[path.outcome])
    assert counts == {"accepted": 23, "refused": 1, "unknown": 6}
    assert [lane.client for lane in drawn.lanes] == ["c0", "c1", "c2"]
    assert all(lane.back.startswith("back in ") and lane.back_x is not None for lane in drawn.lanes)
    assert sum(column.height for column in drawn.columns if column.outcome == "unknown") > 0


def test_a_client_that_was_never_served_again_has_no_mark() -> None:
    """It is said in words."""
    story = told()
    for at, each in enumerate(story.operations):
        if each.client == "c1" and each.begin > 2.9:
            story.operations[at] = operation(each.n, "c1", "validate", each.begin, None)

    lane = next(each for each in chart(story).lanes if each.client == "c1")

    assert (lane.back, lane.back_x) == ("never again", None)


def test_bands_and_phases_lie_where_the_faults_were() -> None:
    """One name for a series of the same kind; phases in their order; nothing outside the drawing."""
    drawn = chart(told())

    assert [each.label for each in drawn.bands] == ["timeout wire \N{MULTIPLICATION SIGN}2", ""]
    assert [each.name for each in drawn.phases] == ["before", "during", "after", "clean-up"]
    starts = [each.x for each in drawn.phases]
    assert starts == sorted(starts)
    assert drawn.bands[0].x == drawn.phases[1].x
    assert all(each.x + each.width <= RIGHT for each in drawn.bands)


def test_of_many_clients_the_slowest_have_a_lane() -> None:
    """And it is said how many there are; the columns count them all."""
    drawn = chart(told(100))

    assert len(drawn.lanes) == LANES
    assert drawn.note.startswith(f"{LANES} of 100 clients have a lane")
    assert "1,000 calls of 100 clients" in drawn.summary


def test_nothing_called_is_no_drawing() -> None:
    """And no error."""
    assert drill_chart(StoryHistory(story="s", world="live", scenario="x"), {}) is None


def test_a_held_drill_is_on_the_page() -> None:
    """Verdict, drawing, phases with what was expected; markup of others is text."""
    story = told()
    found = rehearsed(DRILL, story)
    result = RunResult(
        verdict=Verdict.HELD,
        exit_code=0,
        drill=found.as_dict(),
        thresholds=[each.as_threshold() for each in found.expectations],
        promises=[PromiseResult(id="VAL-001", sentence="s", verdict=Verdict.HELD, occasions=3)],
    )

    page = report_html(result, {}, story)

    assert "The drill: A &lt;b&gt;wire&lt;/b&gt;" in page
    assert "Timeline of the drill" in page
    assert page.count('class="mark-unknown"') == 4  # three lanes and the legend
    assert "refused at most 0 calls: 0" in page
    assert len(page) < 200_000


CELLS = [
    CellResult(promise="VAL-001", tried=7, stories=2),
    CellResult(promise="VAL-004", tried=2, stories=1, broken=1),
    CellResult(promise="SEA-001", undecided=1, reason="there was no occasion to break it"),
    CellResult(promise="REV-001", reason="no story with this fault tried it"),
]


def test_the_table_of_faults_and_promises_says_why_not() -> None:
    """Tried, broken, undecided and not tried are told apart by sign; what was not set has its reason."""
    matrix = [
        FaultResult(fault="crash", set=2, met=2, promises=CELLS),
        FaultResult(fault="store-gone", reason="needs PostgreSQL"),
    ]
    promises = [PromiseResult(id=each.promise, sentence="s", verdict=Verdict.HELD) for each in CELLS]

    found = matrix_table(matrix, promises)
    summary = step_summary(RunResult(matrix=matrix, promises=promises))

    assert found.promises == ("VAL-001", "VAL-004", "SEA-001")
    assert [(each.text, each.style) for each in found.rows[0].cells] == [
        ("7", "held"),
        ("\N{BALLOT X} 2", "broken"),
        ("?", "undecided"),
    ]
    assert ("store-gone", "not set: needs PostgreSQL") in found.reasons
    assert ("REV-001", "under none of these faults: no story with this fault tried it") in found.reasons
    assert "| crash | 2 / 2 | VAL-004 | VAL-001 | SEA-001 |  |" in summary
    assert "needs PostgreSQL" in summary


class Broken:
    where = "wire"
    detail: ClassVar[dict[str, Any]] = {}

    def mend(self) -> int:
        return 1


class Telling:
    """A story as far as it was told."""

    def __init__(self, history: StoryHistory, upto: int) -> None:
        self.history = StoryHistory(story="s", world="live", scenario="x", operations=history.operations[:upto])
        self.elapsed = self.now = history.operations[upto - 1].begin
        wanted = Wanted(FaultKind.TIMEOUT, stream="upstream")
        self.faults_on = (FaultOn(1, wanted, 2.0, self.now + 0.75, Broken()),)


class Ticking:
    """A clock that goes on by a second with every look."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        self.seconds += 1
        return self.seconds

    def wall(self) -> float:
        return self.now()

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def shown(story: StoryHistory, *, terminal: bool, clients: int) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, color_system=None)
    with DrillView(console, Ticking(), seconds=5, clients=[f"c{number}" for number in range(clients)]) as view:
        view.watch("before", Telling(story, 1))  # type: ignore[arg-type]
        view.watch("during: timeout", Telling(story, len(story.operations) * 2 // 3))  # type: ignore[arg-type]
        view.watch("during: timeout", Telling(story, len(story.operations) * 2 // 3))  # type: ignore[arg-type]
    return out.getvalue()


def test_a_terminal_shows_a_lane_for_each_client() -> None:
    """Marks of the last calls, the fault with its remaining time, the phase, and how much had no answer."""
    text = shown(told(), terminal=True, clients=3)

    assert "timeout upstream  0.8 s left" in text
    assert "during" in text
    assert "20 calls, 6 unanswered" in text
    assert "c0          ||||??|" in text
    assert "c1          x|||??|" in text


def test_lanes_of_many_clients_are_folded() -> None:
    """The last line counts what became of the others' last calls."""
    text = shown(told(100), terminal=True, clients=100)

    assert "89 clients more: last call " in text
    assert "c10 " in text
    assert "c11 " not in text


def test_without_a_terminal_there_are_plain_lines() -> None:
    """One for each phase, and one now and then; no control sequence."""
    text = shown(told(), terminal=False, clients=3)

    assert "\x1b" not in text
    assert [line.strip().split("   ")[0] for line in text.splitlines()] == ["0.0 s  before", "3.2 s  during: timeout"]


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupted_drill_leaves_the_screen_in_order(*, terminal: bool) -> None:
    """The cursor is back, whatever ended it."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80)
    view = DrillView(console, Ticking(), seconds=5, clients=["c0"])

    def interrupted() -> None:
        with view:
            view.watch("before", Telling(told(), 1))  # type: ignore[arg-type]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h")
