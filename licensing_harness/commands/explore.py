"""``explore``: many seeds of drawn stories in the simulated world, on all cores, up to the first broken promise.

Nothing that was tried may stay untried: a run in which some kind of operation was
never accepted, some kind of fault never met, or some promise had no occasion to be
broken, proves nothing and exits 10. Some seeds are told twice; two histories of one seed are exit 3.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Final

from licensing_harness.checkers.judge import ALL_PROMISES
from licensing_harness.checkers.tally import Tally, finding
from licensing_harness.clock import Clock, RealClock
from licensing_harness.commands.gate import configured
from licensing_harness.commands.planted import check_defect
from licensing_harness.config import Config
from licensing_harness.errors import UsageError, way_out
from licensing_harness.generate.draw_faults import kinds_for
from licensing_harness.generate.explore import Explorer, Finding, Reached, described, reached_lines
from licensing_harness.generate.shrink import described as steps_of
from licensing_harness.generate.workers import explore_all, mute
from licensing_harness.history import HistoryWriter, lines_of
from licensing_harness.report.directory import RunDirectory
from licensing_harness.report.text import finding_text, many
from licensing_harness.run import HISTORY, Run, new_place
from licensing_harness.verdict import Exit, Promise
from licensing_harness.vocabulary import ADDED, FaultKind

_OFTEN: Final = 1.9
"""Seconds between two lines of progress, a little less than the two that are promised."""

_SHOWN: Final = 6


def run(
    given: Mapping[str, Any],
    *,
    seeds: int,
    jobs: int,
    steps: int,
    self_check: bool,
    calm: bool = False,
    without: Sequence[str] = (),
) -> int:
    """Explore; returns 1 for a broken promise, 10 when too little was tried, else 0.

    Raises UsageError, NotRun for a target that can't be simulated, and HarnessError
    when what was seen can't be trusted.
    """
    clock = RealClock()
    config = configured(given)
    check_defect(config)
    it = Run(config, new_place(config, invoked_in=Path.cwd(), clock=clock))
    first = it.place.seed
    explorer = Explorer(
        it.simulated_target(),
        it.adapter,
        steps,
        calm=calm,
        without=kinds_of(without),
        promises=chosen(config.only),
        secrets=config.secrets,
    )
    jobs = jobs or _cores()
    mute()
    progress = _Progress(clock, seeds)
    reached = Reached()
    _say(f"{it.target_name}: {many(seeds, 'seed')} from {first}, {many(jobs, 'process', 'processes')}")
    try:
        explore_all(
            explorer, range(first, first + seeds), jobs=jobs, say=progress.say, reached=reached, every_twice=self_check
        )
    except KeyboardInterrupt:
        if reached.broken is None:
            progress.end(reached)
            done = f"{reached.seeds:,} of {many(seeds, 'seed')} judged, and no promise was broken in them"
            return _end(f"interrupted: {done}", Exit.INTERRUPTED)
    progress.end(reached)
    for heading, line in reached_lines(reached):
        _say(f"  {heading}: {line}")
    if reached.broken is not None:
        seed, promise = reached.broken
        return _broken(it, explorer.shrunk(seed, promise), seed, _again(config, explorer, seed))
    if reached.twice:
        _say(f"{many(reached.twice, 'seed')} told twice, with equal histories")
    missing = explorer.missing(reached)
    if missing:
        for each in missing[:_SHOWN]:
            _say(f"  {each}")
        if len(missing) > _SHOWN:
            _say(f"  and {len(missing) - _SHOWN} more")
        return _end("too little was tried: nothing is proved; take more --seeds or more --steps", Exit.UNDECIDED)
    return _end(f"no promise was broken, and {many(len(reached.occasions), 'promise')} had occasions", Exit.HELD)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Progress:
    """A line about every two seconds; on a terminal it is written over."""

    def __init__(self, clock: Clock, seeds: int) -> None:
        self._clock = clock
        self._seeds = seeds
        self._said = clock.now()
        self._start = self._said
        self._over = sys.stdout.isatty()

    def say(self, reached: Reached) -> None:
        """What was reached so far, if it is time to say so."""
        if self._clock.now() - self._said >= _OFTEN:
            self._said = self._clock.now()
            self._line(reached, "" if self._over else "\n")

    def end(self, reached: Reached) -> None:
        """The last line."""
        self._line(reached, "\n")

    def _line(self, reached: Reached, end: str) -> None:
        seconds = max(self._clock.now() - self._start, 1e-6)
        counts = ", ".join(f"{count:,} {name}" for name, count in described(reached).items())
        line = f"{reached.seeds:,} of {self._seeds:,} seeds"
        line += f", {reached.seeds / seconds:,.0f} seeds/s, {reached.operations / seconds:,.0f} operations/s: {counts}"
        sys.stdout.write(("\r\x1b[K" if self._over else "") + line + end)
        sys.stdout.flush()


def chosen(only: Sequence[str]) -> tuple[Promise, ...]:
    """The promises that these names mean: one of them, or a family (``SEA``); all when nothing is named.

    Raises UsageError for a name that is neither.
    """
    known = {each.id: (each,) for each in ALL_PROMISES}
    for each in ALL_PROMISES:
        known[each.family] = (*known.get(each.family, ()), each)
    for name in only:
        if name not in known:
            message = f"--only {name}: explore judges by promises; {way_out(name, known)}"
            raise UsageError(message)
    wanted = {each.id for name in only for each in known[name]}
    return tuple(each for each in ALL_PROMISES if each.id in wanted or not only)


def kinds_of(names: Sequence[str]) -> frozenset[FaultKind]:
    """The kinds of fault with these names. Raises UsageError for one that is none, or that is not drawn anyway."""
    drawn = sorted(kind.value for kind in kinds_for(ADDED))
    for name in names:
        if name not in drawn:
            message = f"--without {name}: no kind of fault that explore draws; {way_out(name, drawn)}"
            raise UsageError(message)
    return frozenset(map(FaultKind, names))


def _again(config: Config, explorer: Explorer, seed: int) -> str:
    """The command that finds it again."""
    named = [f"--{name} {quote(value)}" for name, value in config.naming().items() if name != "control"]
    named += [f"--only {name}" for name in config.only]
    named += ["--calm"] if explorer.calm else [f"--without {kind}" for kind in sorted(explorer.without)]
    return " ".join(["licensing-harness explore --seeds 1", f"--seed {seed}", f"--steps {explorer.steps}", *named])


def _broken(it: Run, found: Finding, seed: int, again: str) -> int:
    """Say what was found, and write the run directory with its case."""
    directory = RunDirectory(Path(it.place.directory), found.masker)
    directory.make()
    with HistoryWriter(directory.path / HISTORY, it.header, found.masker) as writer:
        writer.write(*lines_of(found.history))
    tally = Tally(it.header)
    tally.judge(found.history)
    directory.write(tally.result(started=it.place.started), it.header, tally.cases)
    shown = finding(found.violation, found.history)
    plan = many(len(found.history.plan), "step")
    _say(f"seed {seed} breaks {found.violation.promise}; the smallest story of {found.told} has {plan}:")
    _say(found.masker.mask(steps_of(found.history.plan)))
    _say("")
    _say(found.masker.mask(finding_text(shown)))
    _say(f"  explore   {again}")
    also = sorted({each.promise for each in tally.result().findings} - {shown.promise})
    if also:
        _say(f"  also      {', '.join(also)}: broken in the same story")
    _say(f"  case      {directory.path / 'cases' / shown.case}.json")
    return _end(f"{found.violation.promise} is broken", Exit.BROKEN)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _end(text: str, code: Exit) -> int:
    _say(f"{text} (exit {int(code)})")
    return int(code)
