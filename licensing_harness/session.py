"""What the plugin does once a test of ours is there: select, run, judge, exit.

One :class:`Session` a process. In a plain run it does everything. Under
pytest-xdist the workers run and judge, verdicts ride on test reports, and the
controller alone writes the run directory and decides the exit code.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from licensing_harness import __version__
from licensing_harness import config as settings
from licensing_harness.checkers.tally import Tally, finding, judge_file
from licensing_harness.clock import RealClock
from licensing_harness.errors import HarnessError, NotRun, PromiseBroken, Undecided, UsageError
from licensing_harness.history import Header
from licensing_harness.options import OPTIONS
from licensing_harness.report.directory import RunDirectory
from licensing_harness.report.terminal import columns, screen
from licensing_harness.report.text import finding_text
from licensing_harness.rows import Row, Rows
from licensing_harness.run import Place, Run, new_place
from licensing_harness.suite import Campaign, promises, scenarios
from licensing_harness.verdict import Exit, RunResult, Verdict, worst
from licensing_harness.vocabulary import Cap

_SESSION: Final = pytest.StashKey["Session"]()
_PLACE: Final = pytest.StashKey[Place]()
_CAMPAIGN: Final = pytest.StashKey[Campaign]()

_OWN: Final = "the scenario's own assertion"

_FATAL: Final = frozenset({int(Exit.USAGE), int(Exit.NOT_READY), int(Exit.GUARD)})
"""After these every other test would end in the same way: the run stops."""


def use(config: pytest.Config) -> Session:
    """The session of this pytest run, made when something of ours is first used.

    Raises pytest.UsageError when an option can't be read.
    """
    session = config.stash.get(_SESSION, None)
    if session is None:
        session = config.stash[_SESSION] = Session(config, place_of(config))
        config.pluginmanager.register(session, "licensing_session")
    return session


def place_of(config: pytest.Config) -> Place:
    """Which run this is; a worker is told by its controller."""
    place = config.stash.get(_PLACE, None)
    if place is None:
        told = getattr(config, "workerinput", {})
        if "licensing" in told:
            place = Place(**told["licensing"]).for_worker(str(told["workerid"]))
        else:
            place = new_place(_settings(config), invoked_in=config.invocation_params.dir, clock=RealClock())
        config.stash[_PLACE] = place
    return place


def _settings(config: pytest.Config) -> settings.Config:
    command_line, ini = {}, {}
    source = config.inipath.name if config.inipath else "-o"
    for option in OPTIONS:
        command_line[option.key] = config.getoption(option.ini)
        value = config.getini(option.ini)
        if value is not None:
            ini[option.name] = settings.Value(value, f"{source}: {option.ini}")
    try:
        settings.read_ini(config.inipath)
        return settings.resolve(
            command_line=command_line,
            environ=os.environ,
            ini=ini,
            directories=(config.invocation_params.dir, config.rootpath),
        )
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


class Session:
    """See the module. Registered as a plugin, so that its ``pytest_*`` methods are hooks."""

    def __init__(self, config: pytest.Config, place: Place) -> None:
        self.pytest = config
        self.config = _settings(config)
        self.run = Run(self.config, place)
        self.directory = RunDirectory(Path(place.directory), self.run.masker)
        self.rows = Rows()
        self.result: RunResult | None = None

    @property
    def is_worker(self) -> bool:
        """A worker of pytest-xdist."""
        return hasattr(self.pytest, "workerinput")

    def header(self) -> str:
        """The line under pytest's own header."""
        target = self.run.target_name
        worlds = " and ".join(self.config.worlds())
        return f"licensing: {target}, {worlds}, depth {self.config.depth}, seed {self.run.place.seed}"

    # Collection ------------------------------------------------------------------------------

    def places(self) -> Mapping[str, str]:
        """What each scenario is run for, by its id in a test's brackets."""
        found: dict[str, str] = {}
        for world in self.config.worlds():
            if world == "simulated" and self.config.seeds > 1:
                found |= {f"{world}/{number}": f"{world}-seed{number}" for number in range(self.config.seeds)}
            else:
                found[world] = world
        return found

    def select(self, items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
        """Items to keep and items that ``--licensing-only`` leaves out. Raises pytest.UsageError."""
        wanted = set(self.config.only)
        if not wanted:
            return items, []
        families = {path.name for path in scenarios().iterdir() if path.is_dir()} if scenarios().is_dir() else set()
        names = {item: _names(item) for item in items}
        known = families | set(promises()) | {identity[:3] for identity in promises()}
        known = known.union(*names.values())
        unknown = sorted(wanted - known)
        if unknown:
            message = (
                f"{self.config.source('only')}: {', '.join(unknown)} is no family or promise here; "
                f"families: {', '.join(sorted(families - {'__pycache__'}))}"
            )
            raise pytest.UsageError(message)
        kept = [item for item in items if names[item] & wanted or not names[item]]
        return kept, [item for item in items if item not in set(kept)]

    def check(self) -> None:
        """Look at adapter, control and options before the first test. Raises pytest.UsageError."""
        try:
            _ = self.run.adapter, self.run.control, self.required
        except UsageError as error:
            if self.is_worker:
                return  # its tests say so, one by one
            raise pytest.UsageError(str(error)) from error

    @property
    def required(self) -> frozenset[Cap]:
        """Capabilities whose scenarios must run. Raises UsageError for what is none."""
        known = {str(cap) for cap in Cap}
        for name in self.config.require:
            if name not in known:
                message = f"{self.config.source('require')}: {name!r} is no capability; choose from {', '.join(Cap)}"
                raise UsageError(message)
        return frozenset(Cap(name) for name in self.config.require)

    # One test --------------------------------------------------------------------------------

    def campaign(self, item: pytest.Item, place: str) -> Campaign:
        """The campaign of a test. Raises NotRun, UsageError, TargetNotReady or GuardRefused."""
        tries, needs = _marked(item)
        world, _, number = place.partition("/")
        missing = [cap for cap in needs if cap not in self.run.capabilities and cap in self.required]
        if missing:
            message = f"{missing[0].value!r} is required (--licensing-require), and this target does not state it"
            raise Undecided(message)
        campaign = Campaign(
            self.run, world, scenario=scenario_id(item), tries=tries, needs=needs, round_=int(number or 0)
        )
        item.stash[_CAMPAIGN] = campaign
        return campaign

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge what the body did, after it: a broken promise is a failure of the test, not an error."""
        campaign = item.stash.get(_CAMPAIGN, None)
        try:
            result = yield
        except NotRun as reason:
            if campaign is not None:
                campaign.not_run(str(reason))
            raise
        except (HarnessError, PromiseBroken):
            raise
        except (KeyboardInterrupt, pytest.exit.Exception):
            if campaign is not None:
                campaign.abandon()
            raise
        except (Exception, pytest.fail.Exception):
            if campaign is not None:
                campaign.judge()  # for the record; the body's own words stand
            raise
        if campaign is not None:
            campaign.conclude()
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the verdict on the report, and our words in the place of a traceback."""
        report = yield
        error = call.excinfo.value if call.excinfo is not None else None
        ours = _CAMPAIGN in item.stash or item.get_closest_marker("licensing") is not None
        verdict, reason, code = _verdict(error)
        match error:
            case NotRun():
                _, line, _ = item.location
                report.outcome = "skipped"
                report.longrepr = (str(item.path), (line or 0) + 1, f"Skipped: licensing: {reason}")
            case HarnessError() | PromiseBroken() | Undecided():
                report.longrepr = self.run.masker.mask(_text(error, reason, item.stash.get(_CAMPAIGN, None)))
            case None:
                if report.when != "call":
                    return report
            case _ if not ours:
                return report
            case _ if isinstance(error, pytest.skip.Exception):
                verdict, reason = Verdict.NOT_RUN, str(error)
            case _:
                verdict, reason = (
                    Verdict.BROKEN,
                    f"{_OWN}: {(str(error).splitlines() or [type(error).__name__])[0]:.200}",
                )
        if not ours and not isinstance(error, HarnessError | NotRun | Undecided | PromiseBroken):
            return report
        campaign = item.stash.get(_CAMPAIGN, None)
        result = campaign.result if campaign is not None else None
        row = Row(
            scenario=scenario_id(item),
            world=_world_of(item),
            verdict=verdict,
            reason=self.run.masker.mask(reason),
            code=code,
            stories=result.stories if result else 0,
            operations=result.operations if result else 0,
            overlaps=result.overlaps if result else 0,
            seconds=round(report.duration, 3),
            counts=ours,
            own=reason.startswith(_OWN),
            thresholds=campaign.thresholds if campaign is not None and report.when == "call" else [],
        )
        if code in _FATAL and not self.is_worker:
            item.session.shouldfail = f"licensing: {reason}"
        report.licensing = row.as_dict()  # type: ignore[attr-defined]
        return report

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
        """Undecided and untrustworthy tests have words of their own."""
        row = getattr(report, "licensing", None)
        if row is None or not report.failed or hasattr(report, "wasxfail"):
            return None
        if row["verdict"] == Verdict.UNDECIDED.value:
            if row["code"]:
                return "error", "E", ("ERROR", {"red": True})
            return "undecided", "U", ("UNDECIDED", {"yellow": True})
        return None

    def collect(self, report: pytest.TestReport) -> None:
        """Take over a row that a test report carries; called in the process that decides, and in workers."""
        row = Row.from_dict(report.licensing)
        if hasattr(report, "wasxfail"):
            row = row.excused(report.wasxfail)
        self.rows.add(row, failed=report.failed)

    # The end ---------------------------------------------------------------------------------

    def take_over(self, last_words: Mapping[str, Any]) -> None:
        """What a worker could not put on any test report."""
        self.rows.troubles += last_words["troubles"]
        self.rows.codes += last_words["codes"]
        self.run.notes += last_words["notes"]

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Clean up, then settle the exit code. Innermost, so that workers are gone and the summary is yet to come."""
        result = yield
        for trouble in self.run.close():
            self.rows.troubles.append(str(trouble))
            self.rows.codes.append(trouble.exit_code)
        if self.is_worker:
            words = {"troubles": self.rows.troubles, "codes": self.rows.codes, "notes": self.run.notes}
            self.pytest.workeroutput["licensing"] = words  # type: ignore[attr-defined]
            return result
        # An interrupted worker may have recorded a story and reported no test: what it saw is kept and judged.
        if self.rows.rows or self.rows.codes or self.directory.recorded:
            session.exitstatus = self._settle(session)
        return result

    def _settle(self, session: pytest.Session) -> int:
        """Judge the whole history once more, write the run directory, and say what the run ends with."""
        code = self.rows.exit_code(int(session.exitstatus), session.testsfailed)
        try:
            tally = self._tally()
            seconds = round(self.run.clock.now(), 3)
            result = tally.result(depth=self.config.depth, started=self.run.place.started, seconds=seconds)
            if result.worlds and not any(row.deviation for row in self.rows.rows):
                code = worst([code, result.exit_code])
            self.result = self.rows.complete(result, exit_code=code)
            self.result = self.directory.write(self.result, tally.header, tally.cases)
            self.directory.point_latest()
        except HarnessError as error:
            self.rows.troubles.append(str(error))
            code = worst([code, error.exit_code])
        return code

    def _tally(self) -> Tally:
        self.directory.make()
        notes = self.directory.merge()
        history = self.directory.history()
        recorded = history.is_file() and history.stat().st_size > 0
        tally = judge_file(history) if recorded else Tally(self._header())
        for note in dict.fromkeys([*self._left_out(), *self.run.notes, *notes]):
            tally.note(note)
        return tally

    def _left_out(self) -> list[str]:
        """Worlds that no scenario was collected for, and why."""
        collected = self.config.worlds()
        found = ((world, self.config.impossible(world)) for world in ("simulated", "live") if world not in collected)
        return [f"{world} world not run: {why}" for world, why in found if why]

    def _header(self) -> Header:
        try:
            return self.run.header
        except HarnessError:
            return Header(run=self.run.place.run, harness=__version__, target=self.run.target_name)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Our section: the run on one screen."""
        reporter = terminalreporter
        if not self.pytest.getoption("--licensing-screen"):
            reporter.section("licensing-harness")
        if self.result is None:
            for error in self.rows.errors():
                reporter.write_line(f"ERROR: {error}", red=True)
            return
        lines = screen(
            self.result,
            width=columns(),
            encoding=sys.stdout.encoding or "utf-8",
            report=self.directory.shown,
            masker=self.run.masker,
            colour=reporter.hasmarkup,
        )
        for line in lines:
            reporter.write_line(line)


# What a test is called and says of itself --------------------------------------------------------


def scenario_id(item: pytest.Item) -> str:
    """A scenario's name in reports: its path below ``scenarios/`` and its function, without the world.

    The same in a checkout, in a wheel and in a user's file that imports the
    shipped scenarios. A test of the user's own goes by its path below the root directory.
    """
    function = getattr(item, "function", None)
    name = getattr(item, "originalname", None) or item.name
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    root = scenarios().resolve()
    file = Path(code.co_filename).resolve() if code is not None else item.path
    rest = [part for part in _parameters(item) if part != _world_of(item)]
    suffix = f"[{'-'.join(rest)}]" if rest else ""
    if root in file.parents:
        return f"{file.relative_to(root).as_posix()}::{name}{suffix}"
    return f"{item.nodeid.partition('::')[0]}::{name}{suffix}"


def _parameters(item: pytest.Item) -> list[str]:
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return []
    return [str(value) for name, value in callspec.params.items() if name != "licensing_world_name"]


def _world_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("licensing_world_name", "live")).partition("/")[0] if callspec else "live"


def _marked(item: pytest.Item) -> tuple[tuple[str, ...], tuple[Cap, ...]]:
    """What the marker says. Raises HarnessError for a marker that can't be read."""
    marker = item.get_closest_marker("licensing")
    if marker is None:
        return (), ()
    unknown = set(marker.kwargs) - {"tries", "needs"}
    if unknown or marker.args:
        message = f"{item.nodeid}: write @pytest.mark.licensing(tries=(...), needs=(...))"
        raise HarnessError(message)
    tries, needs = marker.kwargs.get("tries", ()), marker.kwargs.get("needs", ())
    try:
        return tuple(tries), tuple(Cap(cap) for cap in needs)
    except ValueError as error:
        message = f"{item.nodeid}: {error}; capabilities: {', '.join(Cap)}"
        raise HarnessError(message) from error


def _names(item: pytest.Item) -> set[str]:
    """What ``--licensing-only`` may call a test of ours; empty for tests that are not."""
    marker = item.get_closest_marker("licensing")
    if marker is None:
        return set()
    tries = set(map(str, marker.kwargs.get("tries", ())))
    family = Path(scenario_id(item).partition("::")[0]).parent.name
    return tries | {promise.partition("-")[0] for promise in tries} | {family}


def _verdict(error: BaseException | None) -> tuple[Verdict, str, int]:
    """The verdict, its reason, and the exit code where it is no verdict on the target."""
    match error:
        case None:
            return Verdict.HELD, "", 0
        case NotRun():
            return Verdict.NOT_RUN, str(error), 0
        case PromiseBroken():
            return Verdict.BROKEN, str(error).partition("\n")[0], 0
        case HarnessError():
            return Verdict.UNDECIDED, str(error), error.exit_code
        case _:
            return Verdict.UNDECIDED, str(error), 0


def _text(error: BaseException, reason: str, campaign: Campaign | None) -> str:
    """What stands in the place of a traceback."""
    if isinstance(error, PromiseBroken):
        found = campaign.found if campaign is not None else None
        return finding_text(finding(*found)) if found is not None else str(error)
    return f"{type(error).__name__}: {reason}"
