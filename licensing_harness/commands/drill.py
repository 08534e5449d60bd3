"""``drill``: an outage rehearsed from a TOML file, judged, and cleaned up whatever happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from licensing_harness.checkers.tally import Tally
from licensing_harness.clock import RealClock
from licensing_harness.commands import drilled
from licensing_harness.commands.gate import configured
from licensing_harness.commands.planted import check_defect
from licensing_harness.config import Value
from licensing_harness.errors import HarnessError, NotRun, UsageError
from licensing_harness.faults.plan import schedule
from licensing_harness.generate.drill import Drill
from licensing_harness.generate.drill_file import read_drill
from licensing_harness.generate.drillrun import clients, healthy, tell
from licensing_harness.options import BY_NAME
from licensing_harness.report.directory import RunDirectory
from licensing_harness.report.drillview import DrillView
from licensing_harness.report.terminal import columns, print_result
from licensing_harness.report.text import many
from licensing_harness.run import Run, new_place
from licensing_harness.suite import scenarios
from licensing_harness.verdict import Exit
from licensing_harness.worlds.story import Story


def run(given: Mapping[str, Any], *, name: str | None, listing: bool, dry_run: bool) -> int:
    """Run a drill and return its exit code. Raises UsageError, and what the world raises at its start."""
    console = Console(highlight=False, width=columns())
    if listing or name is None:
        return _list(console)
    path = _find(name)
    drill = _read(path)
    stated = {key: Value(value, f"{path.name}: [target] {key}") for key, value in drill.target.items()}
    config = configured(given, stated)
    check_defect(config)
    if dry_run:
        _plan(console, drill)
        return int(Exit.HELD)
    it = Run(config, new_place(config, invoked_in=Path.cwd(), clock=RealClock()))
    directory = RunDirectory(Path(it.place.directory), it.masker)
    it.adapter  # noqa: B018 - a wrong adapter is said before a folder is made
    directory.make()
    faults = many(len(drill.faults.faults), "fault")
    console.print(f"[bold]{escape(drill.title)}[/bold]   {drill.seconds:g} s, {faults}", soft_wrap=True)
    told = _Told()
    try:
        _tell(drill, it, path.stem, told, console)
    except (NotRun, HarnessError) as error:
        told.trouble = error
    except KeyboardInterrupt:
        told.codes.append(int(Exit.INTERRUPTED))
        console.print("interrupted: every fault is being removed")
    told.troubles = it.close()
    return _judge(it, directory, told, console)


class _Told:
    """What became of a drill."""

    def __init__(self) -> None:
        self.story: Story | None = None
        self.trouble: HarnessError | NotRun | None = None
        self.troubles: list[HarnessError] = []
        self.codes: list[int] = []


def _tell(drill: Drill, it: Run, name: str, told: _Told, console: Console) -> None:
    world = it.world(drill.world if it.config.world == "both" else it.config.world)
    story = told.story = world.story(scenario=f"drill/{name}", tries=drill.tries, drill=drill.document)
    with DrillView(console, it.clock, seconds=drill.seconds, clients=clients(drill)) as view:
        try:
            try:
                tell(drill, story, seed=it.place.seed, watch=view.watch)
            except NotRun as why:
                story.history.not_run = str(why)
                for on in story.faults_on:
                    story.mend(on)
            healthy(drill, story)
        except BaseException:
            story.abandon()
            raise
        story.close()


# The end -----------------------------------------------------------------------------------------


def _judge(it: Run, directory: RunDirectory, told: _Told, console: Console) -> int:
    tally = Tally(it.header)
    stories = [] if told.story is None else [told.story.history]
    for story in stories:
        tally.judge(story)
    for error in [*([told.trouble] if isinstance(told.trouble, HarnessError) else []), *told.troubles]:
        tally.failed(str(error), error.exit_code)
    if isinstance(told.trouble, NotRun):
        tally.note(f"not run: {told.trouble}")
        told.codes.append(int(Exit.UNDECIDED))
    found = drilled.rehearsals(stories)
    told.codes += drilled.add(tally, found)
    for note in it.notes:
        tally.note(note)
    result = tally.result(started=it.place.started, seconds=round(it.clock.now(), 3), codes=told.codes)
    drilled.complete(result, found)
    shown = directory.write(result, tally.header, tally.cases, next(iter(stories), None))
    directory.point_latest()
    for each in found:
        drilled.show(console, each)
    print_result(Console(width=console.width), shown, report=directory.shown)
    return shown.exit_code


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


def _read(path: Path) -> Drill:
    return read_drill(path.read_text(encoding="utf-8"), path.name, BY_NAME)


def _list(console: Console) -> int:
    for name, path in shipped().items():
        drill = _read(path)
        console.print(f"{name:<34} {drill.seconds:>4g} s  {drill.title}", soft_wrap=True)
    return int(Exit.HELD)


def _plan(console: Console, drill: Drill) -> None:
    """What would happen; nothing is sent."""
    load = drill.load
    console.print(f"[bold]{escape(drill.title)}[/bold]", soft_wrap=True)
    verbs = ", ".join(f"{verb} {weight}" for verb, weight in load.verbs.items() if weight)
    console.print(f"load      {load.rate:g} calls/s for {drill.seconds:g} s: {verbs}", soft_wrap=True)
    for each in drill.faults.faults:
        what = " ".join([each.kind, each.stream, *(f"{name}={value:g}" for name, value in each.parameters.items())])
        until = "" if each.end is None else f" to {load.before + each.end:g}"
        console.print(
            f"fault     {what.replace('  ', ' ').strip()}  at {load.before + each.begin:g}{until} s", soft_wrap=True
        )
    for line in _timeline(drill, max(30, min(console.width, 100) - 24)):
        console.print(line, soft_wrap=True, markup=False)
    for expect in drill.expects:
        console.print(f"expected  {expect.name}", soft_wrap=True)


def _timeline(drill: Drill, width: int) -> list[str]:
    """The plan against time: the phases, and a line for each fault."""
    before, outage = drill.load.before, drill.outage

    def at(seconds: float) -> int:
        return min(width - 1, int(seconds / drill.seconds * width))

    marks = [" "] * width
    names = (("before", 0.0), ("during", before), ("after", before + outage))
    for name, start in names:
        marks[at(start) : at(start) + len(name) + 1] = f"|{name}"
    lines = [f"{'':<22}{''.join(marks)[:width]}|"]
    for each in schedule(drill.faults, 0):
        begin = at(before + each.begin)
        end = begin + 1 if each.end is None else max(begin + 1, at(before + each.end))
        line = [" "] * width
        line[begin:end] = ["!"] if each.end is None else ["="] * (end - begin)
        lines.append(f"{drill.faults.faults[each.fault].kind:<22}{''.join(line)}")
    return _joined(lines)


def _joined(lines: list[str]) -> list[str]:
    """Events of one kind on one line."""
    found: dict[str, str] = {}
    for line in lines:
        name, marks = line[:22], line[22:]
        known = found.get(name, "")
        found[name] = "".join(one if one != " " else other for one, other in zip(marks, known or marks, strict=True))
    return [name + marks.rstrip() for name, marks in found.items()]
