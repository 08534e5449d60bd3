"""``drill``: an outage rehearsed from a TOML file, judged, and cleaned up whatever happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from licensing_harness.checkers.tally import Tally
from licensing_harness.clock import RealClock
from licensing_harness.commands.gate import configured
from licensing_harness.commands.planted import check_defect
from licensing_harness.errors import HarnessError, NotRun, UsageError, way_out
from licensing_harness.generate.drill import MEASURES, PHASES, Drill, Measured, measured, phases, read_drill, recoveries
from licensing_harness.generate.drillrun import healthy, tell
from licensing_harness.history import StoryHistory
from licensing_harness.options import BY_NAME
from licensing_harness.report.directory import RunDirectory
from licensing_harness.report.terminal import columns, print_result
from licensing_harness.report.text import many
from licensing_harness.run import Run, new_place
from licensing_harness.suite import scenarios
from licensing_harness.verdict import Exit, Verdict, threshold_code
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_story import LiveStory

_MARKS: Final = {
    Verdict.HELD: "[green]✓[/green]",
    Verdict.BROKEN: "[red]✗[/red]",
    Verdict.UNDECIDED: "[yellow]?[/yellow]",
}


def run(given: Mapping[str, Any], *, name: str | None, listing: bool, dry_run: bool) -> int:
    """Run a drill and return its exit code. Raises UsageError, and what the world raises at its start."""
    console = Console(highlight=False, width=columns())
    if listing or name is None:
        return _list(console)
    path = _find(name)
    drill = read_drill(path.read_text(encoding="utf-8"), str(path))
    config = configured(_settings(drill, given, str(path)))
    check_defect(config)
    if dry_run:
        _plan(console, drill)
        return int(Exit.HELD)
    it = Run(config, new_place(config, invoked_in=Path.cwd(), clock=RealClock()))
    directory = RunDirectory(Path(it.place.directory), it.masker)
    it.adapter  # noqa: B018 - a wrong adapter is said before a folder is made
    directory.make()
    console.print(
        f"[bold]{drill.title}[/bold]   {drill.seconds:g} s, {many(len(drill.faults.faults), 'fault')}", soft_wrap=True
    )
    told = _Told()
    try:
        _tell(drill, it, path.stem, told, console)
    except (NotRun, HarnessError) as error:
        told.trouble = error
    except KeyboardInterrupt:
        told.codes.append(int(Exit.INTERRUPTED))
        console.print("interrupted: every fault is being removed")
    told.troubles = it.close()
    return _judge(drill, it, directory, told, console)


class _Told:
    """What became of a drill."""

    def __init__(self) -> None:
        self.outage: LiveStory | None = None
        self.clean: LiveStory | None = None
        self.stopped = ""
        self.trouble: HarnessError | NotRun | None = None
        self.troubles: list[HarnessError] = []
        self.codes: list[int] = []

    @property
    def stories(self) -> list[StoryHistory]:
        return [each.history for each in (self.outage, self.clean) if each is not None]


def _tell(drill: Drill, it: Run, name: str, told: _Told, console: Console) -> None:
    world = it.world("live")
    if not isinstance(world, LiveWorld):
        message = "a drill needs real sockets"
        raise NotRun(message)
    told.outage = world.story(scenario=f"drill/{name}", tries=drill.tries)
    with console.status("before") as status:

        def watch(phase: str, story: LiveStory) -> None:
            calls = story.history.operations
            unknown = sum(each.unknown for each in calls)
            status.update(f"{phase}   {len(calls)} calls, {unknown} without an answer")

        try:
            told.stopped = tell(drill, told.outage, it.clock, seed=it.place.seed, watch=watch)
        except BaseException:
            told.outage.abandon()
            raise
        told.outage.close()
        told.clean = world.story(scenario=f"drill/{name}", tries=drill.tries)
        with told.clean:
            healthy(told.clean, it.clock)


# The end -----------------------------------------------------------------------------------------


def _judge(drill: Drill, it: Run, directory: RunDirectory, told: _Told, console: Console) -> int:
    tally = Tally(it.header)
    for story in told.stories:
        tally.judge(story)
    for error in [*([told.trouble] if isinstance(told.trouble, HarnessError) else []), *told.troubles]:
        tally.failed(str(error), error.exit_code)
    if told.stopped:
        tally.note(f"called off: {told.stopped}")
        told.codes.append(int(Exit.UNDECIDED))
    found: list[Measured] = []
    if isinstance(told.trouble, NotRun):
        tally.note(f"not run: {told.trouble}")
        told.codes.append(int(Exit.UNDECIDED))
    elif told.outage is not None:
        found = measured(drill, told.outage.history, None if told.clean is None else told.clean.history)
    for note in it.notes:
        tally.note(note)
    told.codes += [threshold_code(each.verdict) for each in found]
    result = tally.result(started=it.place.started, seconds=round(it.clock.now(), 3), codes=told.codes)
    result.thresholds = [each.as_threshold() for each in found]
    shown = directory.write(result, tally.header, tally.cases)
    directory.point_latest()
    _show(console, told, found)
    print_result(Console(width=console.width), shown, report=directory.shown)
    return shown.exit_code


def _show(console: Console, told: _Told, found: list[Measured]) -> None:
    """The phases, how fast each client recovered, and what was expected."""
    if told.outage is not None:
        by_phase = phases(told.outage.history, None if told.clean is None else told.clean.history)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("phase", "calls", "accepted", "refused", "no answer"):
            table.add_column(column, justify="left" if column == "phase" else "right")
        for phase in PHASES:
            calls = by_phase[phase]
            accepted, refused = sum(each.accepted for each in calls), sum(each.refused for each in calls)
            counts = (len(calls), accepted, refused, len(calls) - accepted - refused)
            table.add_row(phase, *map(str, counts))
        console.print(table)
        back = {client: "never" if s is None else f"{s:.2f} s" for client, s in recoveries(told.outage.history).items()}
        if back:
            console.print("recovered   " + ", ".join(f"{client} {told}" for client, told in back.items()))
    for each in found:
        value = "not measured" if each.value is None else f"{each.value:g} {MEASURES[each.expect.measure]}".strip()
        console.print(f" {_MARKS[each.verdict]} {each.expect.name}   {value} of {each.samples} samples", soft_wrap=True)


# What is asked for -------------------------------------------------------------------------------


def shipped() -> dict[str, Path]:
    """The drills that come with the harness, by name."""
    return {path.stem: path for path in sorted((scenarios() / "outage").glob("*.toml"))}


def _find(name: str) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    known = shipped()
    if name not in known:
        message = f"no drill {name!r} here, and no file of that name; there are {', '.join(known)}"
        raise UsageError(message)
    return known[name]


def _settings(drill: Drill, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    unknown = sorted(set(drill.target) - set(BY_NAME))
    if unknown:
        message = f"{name}: [target]: unknown key {unknown[0]!r}; {way_out(unknown[0], BY_NAME)}"
        raise UsageError(message)
    stated = {BY_NAME[key].key: value for key, value in drill.target.items()}
    return {**stated, **{key: value for key, value in given.items() if value is not None}}


def _list(console: Console) -> int:
    for name, path in shipped().items():
        drill = read_drill(path.read_text(encoding="utf-8"), str(path))
        console.print(f"{name:<34} {drill.seconds:>4g} s  {drill.title}", soft_wrap=True)
    return int(Exit.HELD)


def _plan(console: Console, drill: Drill) -> None:
    """What would happen; nothing is sent."""
    load = drill.load
    console.print(f"[bold]{drill.title}[/bold]", soft_wrap=True)
    verbs = ", ".join(f"{verb} {weight}" for verb, weight in load.verbs.items() if weight)
    console.print(f"load      {load.rate:g} calls/s for {drill.seconds:g} s: {verbs}", soft_wrap=True)
    for each in drill.faults.faults:
        what = " ".join([each.kind, each.stream, *(f"{name}={value:g}" for name, value in each.parameters.items())])
        until = "" if each.end is None else f" to {load.before + each.end:g}"
        console.print(f"fault     {what}  at {load.before + each.begin:g}{until} s", soft_wrap=True)
    for expect in drill.expects:
        console.print(f"expected  {expect.name}", soft_wrap=True)
