"""What came of a drill, added to what is judged of its run: the same for one just told and for a stored one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table

from licensing_harness.checkers.tally import Tally
from licensing_harness.generate.drill_file import stored_drill
from licensing_harness.generate.drill_keys import MEASURES
from licensing_harness.generate.drill_measures import Measured, Rehearsal, rehearsed
from licensing_harness.history import StoryHistory
from licensing_harness.verdict import RunResult, Verdict

_MARKS: Final = {
    Verdict.HELD: "[green]✓[/green]",
    Verdict.BROKEN: "[red]✗[/red]",
    Verdict.UNDECIDED: "[yellow]?[/yellow]",
}


def rehearsals(stories: Iterable[StoryHistory]) -> list[Rehearsal]:
    """The drills among these stories, measured. Raises UsageError for one that this version can't read."""
    return [rehearsed(stored_drill(each.drill, each.scenario), each) for each in stories if each.drill]


def add(tally: Tally, found: Iterable[Rehearsal]) -> list[int]:
    """Tell the tally what the drills came to; returns their exit codes."""
    codes: list[int] = []
    for each in found:
        codes += each.codes
        for note in each.notes:
            tally.note(note)
        for kind, reason in each.not_set.items():
            tally.not_set(kind, reason)
    return codes


def complete(result: RunResult, found: Iterable[Rehearsal]) -> None:
    """Put what was measured into the result."""
    for each in found:
        result.thresholds += [measured.as_threshold() for measured in each.expectations]
        result.drill = each.as_dict()


def show(console: Console, found: Rehearsal) -> None:
    """The phases, how fast each client recovered, and what was expected."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("phase", "calls", "accepted", "refused", "no answer", "p95"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    for each in found.phases:
        p95 = "" if each.p95 is None else f"{each.p95:.0f} ms"
        table.add_row(each.name, *map(str, (each.calls, each.accepted, each.refused, each.unanswered)), p95)
    console.print(table)
    back = recovered(found)
    if back:
        console.print(f"recovered   {back}", soft_wrap=True)
    for measured in found.expectations:
        console.print(f" {_MARKS[measured.verdict]} {measured.expect.name}   {_value(measured)}", soft_wrap=True)


def recovered(found: Rehearsal) -> str:
    """When clients were served again: each of a few, the quickest, the middle and the slowest of many."""
    times = found.recovered
    never = [client for client, seconds in times.items() if seconds is None]
    if len(times) <= 6:  # noqa: PLR2004 - as many as fit one line
        return ", ".join(f"{client} {'never' if s is None else f'{s:.2f} s'}" for client, s in times.items())
    known = sorted(seconds for seconds in times.values() if seconds is not None)
    told = [f"{len(known)} of {len(times)} clients"]
    if known:
        told.append(f"{known[0]:.2f} s to {known[-1]:.2f} s, half of them by {known[len(known) // 2]:.2f} s")
    return ", ".join(told) + (f"; never: {', '.join(never[:6])}" if never else "")


def _value(measured: Measured) -> str:
    value = "not measured" if measured.value is None else f"{measured.value:g} {MEASURES[measured.expect.measure]}"
    return f"{value.strip()} of {measured.samples} samples"
